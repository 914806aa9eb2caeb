"""The checks themselves: each must see what it is there for."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import folders
import import_chains
import sizes
import version

ROOT = Path(__file__).parents[1]


def package(tmp_path: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = tmp_path / "toy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "toy"


def test_one_version_everywhere():
    assert version.wrong(ROOT) == []


def test_another_version_is_named_and_a_new_one_is_written_everywhere(tmp_path):
    (tmp_path / "VERSION").write_text("0.1.0\n")
    for name, given in (("a", "0.1.0"), ("b", "0.0.9")):
        (tmp_path / "src" / name).mkdir(parents=True)
        (tmp_path / "src" / name / "package.xml").write_text(f'<?xml version="1.0"?>\n<version>{given}</version>\n')
        (tmp_path / "src" / name / "setup.py").write_text('setup(\n    version="0.1.0",\n)\n')
    assert version.wrong(tmp_path) == ["src/b/package.xml says 0.0.9, VERSION says 0.1.0"]
    version.write(tmp_path, "1.2.3")
    assert version.wrong(tmp_path) == []
    assert '<?xml version="1.0"?>' in (tmp_path / "src/a/package.xml").read_text()
    assert 'version="1.2.3"' in (tmp_path / "src/b/setup.py").read_text()
    with pytest.raises(ValueError, match=r"'1\.2', expected MAJOR"):
        version.write(tmp_path, "1.2")


@pytest.mark.parametrize(
    ("lengths", "p90"), [([], 0), ([7], 7), (range(1, 11), 9), (range(1, 12), 10), ([1] * 9 + [99], 1)]
)
def test_nine_in_ten_are_no_longer_than_p90(lengths, p90):
    assert sizes.percentile_90(list(lengths)) == p90


def test_functions_are_counted_from_def_to_the_last_line(tmp_path):
    path = tmp_path / "module.py"
    path.write_text("@decorated\ndef f():\n    '''Says.'''\n\n    def g():\n        pass\n\n    return g\n")
    assert [(length, where.split()[-1]) for length, where in sizes.function_lengths(path)] == [(7, "f"), (2, "g")]


def test_folders_that_import_one_another_are_seen(tmp_path):
    files = {"__init__.py": "", "low/__init__.py": "", "low/a.py": "", "high/__init__.py": ""}
    root = package(tmp_path, files | {"high/b.py": "from toy.low import a\n", "hall.py": "from toy.high.b import a\n"})
    assert folders.folder_imports(root) == {"low": set(), "high": {"low"}, "hall": {"high"}}
    package(tmp_path, {"low/a.py": "def later():\n    from toy.high import b\n"})
    assert folders.folder_imports(root)["low"] == {"high"}


def test_the_longest_chain_counts_a_circle_as_its_modules(tmp_path):
    root = package(
        tmp_path, {"a.py": "from toy import b\n", "b.py": "from toy import c\n", "c.py": "", "__init__.py": ""}
    )
    assert import_chains.longest_chain(import_chains.import_graph(root)) == ["toy.a", "toy.b", "toy.c"]
    package(tmp_path, {"c.py": "from toy import b\n"})
    assert set(import_chains.longest_chain(import_chains.import_graph(root))) == {"toy.a", "toy.b", "toy.c"}


def pytest_in(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_golden_file_is_written_only_when_asked_for(tmp_path):
    shutil.copy(ROOT / "conftest.py", tmp_path)
    (tmp_path / "test_toy.py").write_text("def test(golden):\n    golden('values.json', {'a': 1.0}, rel=0.01)\n")
    assert pytest_in(tmp_path).returncode == 1
    assert not (tmp_path / "values.json").exists()
    assert pytest_in(tmp_path, "--renew-golden").returncode == 0
    assert json.loads((tmp_path / "values.json").read_text()) == {"a": 1.0}
    assert pytest_in(tmp_path).returncode == 0
    (tmp_path / "values.json").write_text('{"a": 1.1}')
    assert pytest_in(tmp_path).returncode == 1
    assert (tmp_path / "values.json").read_text() == '{"a": 1.1}'


@pytest.mark.slow
def test_a_file_of_training_tests_is_not_even_imported_where_those_are_left_out(tmp_path):
    shutil.copy(ROOT / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = training: t\n")
    (tmp_path / "test_toy.py").write_text("import pytest\nimport nowhere\n\npytestmark = pytest.mark.training\n")
    (tmp_path / "test_plain.py").write_text("def test():\n    pass\n")
    assert "No module named 'nowhere'" in pytest_in(tmp_path).stdout
    assert "1 passed" in pytest_in(tmp_path, "-m", "not training").stdout
