from setuptools import Extension, find_packages, setup

package_name = "wm_core"

setup(
    name=package_name,
    version="0.1.0",
    packages=find_packages(include=[package_name, f"{package_name}.*"]),
    package_data={package_name: ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
    ],
    install_requires=["setuptools", "numpy", "PyYAML", "rosbags"],
    extras_require={"test": ["pytest", "hypothesis", "scipy"], "video": ["av"]},
    zip_safe=False,
    # A library for ctypes, not a module. Without a compiler the package works all the same, only slower.
    ext_modules=[
        Extension(
            f"{package_name}.memory._kernels",
            [f"{package_name}/memory/_kernels.c"],
            # No fused multiply-add: comparisons must fall out as NumPy's do.
            # Raise it with every change of the source, here and in kernels.py: a changed setup.py is built anew.
            define_macros=[("WM_VERSION", "6")],
            extra_compile_args=["-O3", "-ffp-contract=off", "-fno-math-errno"],
            optional=True,
        )
    ],
    maintainer="World model maintainers",
    maintainer_email="maintainers@example.com",
    description="What all packages must agree on: times, poses, pictures, recordings, and what a memory is.",
    license="Apache-2.0",
)
