from wm_testing.fixtures import artifact, own_domain  # noqa: F401
