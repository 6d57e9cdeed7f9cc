import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from edge.cli import ENTRIES, edge
from edge.commands.lazy import Entry, LazyCommands
from edge.metrics import PipelineCollector
from edge.pipeline.totals import Totals

ROOT = Path(__file__).parents[2]
PAGES = ("streams", "edge", "model_repo", "deploy")
READMES = [ROOT / "README.md", *(page for folder in PAGES for page in sorted((ROOT / folder).rglob("README.md")))]


def run(*args: str):
    return CliRunner().invoke(edge, args)


def test_help_lists_every_command_without_importing_them():
    code = "import sys; from edge.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "print([name for name in ('numpy', 'zmq', 'tritonclient', 'matplotlib', 'torch') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for name in ENTRIES:
        assert re.search(rf"^  {name} ", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("command", sorted(ENTRIES))
def test_every_command_has_help(command):
    result = run(command, "--help")
    assert result.exit_code == 0, result.output


def test_an_unknown_command_is_a_usage_error():
    assert run("fly").exit_code == 2


def test_a_missing_extra_names_what_to_install():
    entries = {"fly": Entry("no_such_module:fly", "Fly.", "wings")}
    group = LazyCommands("edge", entries=entries)
    result = CliRunner().invoke(group, ["fly"])
    assert result.exit_code == 1
    assert "pip install 'detector-edge[wings]'" in result.output


def test_a_missing_configuration_is_one_line():
    result = run("serve", "-c", "/nowhere/edge.toml")
    assert result.exit_code == os.EX_CONFIG
    assert result.output.count("\n") == 1
    assert "/nowhere/edge.toml" in result.output


def test_models_are_listed_with_their_weights():
    result = run("models", "list")
    assert result.exit_code == 0
    assert "ptycho" in result.output
    assert "identity" in result.output


def test_a_repository_for_a_triton_of_your_own(tmp_path):
    result = run("models", "build", "--output", str(tmp_path / "repository"), "identity")
    assert result.exit_code == 0, result.output
    built = {path.name for path in (tmp_path / "repository").iterdir()}
    assert built == {"identity_u8", "identity_u16", "identity_u32"}
    assert (tmp_path / "repository" / "identity_u16" / "1" / "model.onnx").exists()
    again = run("models", "build", "--output", str(tmp_path / "repository"))
    assert again.exit_code == 1
    assert "exists" in again.output
    assert "identity" in run("models", "build", "--output", str(tmp_path / "x"), "nothing").output


def test_a_tensorrt_repository_says_that_its_engines_are_missing(tmp_path):
    result = run("models", "build", "--target", "tensorrt", "--output", str(tmp_path / "repository"), "identity")
    assert result.exit_code == 0, result.output
    assert "trtexec" in result.output
    assert "serve it with" not in result.output


def documented_commands() -> set[str]:
    text = "\n".join(readme.read_text() for readme in READMES)
    return set(re.findall(r"\bedge (?!serve,)([a-z]+)\b(?= [a-z]+`|`| -|\n| --)", text))


def test_documented_commands_exist():
    assert documented_commands() >= {"serve", "doctor", "demo", "replay"}
    for name in documented_commands():
        assert isinstance(edge.get_command(click.Context(edge), name), click.Command), name


def test_documented_metrics_are_the_real_ones():
    totals = Totals()
    names = {metric.name for metric in PipelineCollector(totals).collect()}
    table = (ROOT / "edge" / "README.md").read_text().partition("## Metrics")[2].partition("\n## ")[0]
    documented = {re.sub("_total$", "", name) for name in re.findall(r"^\| `(edge_\w+)`", table, re.MULTILINE)}
    assert documented == names


def test_links_in_the_documentation_lead_somewhere():
    for readme in READMES:
        text = re.sub(r"```.*?```", "", readme.read_text(), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#][^)]*)\)", text):
            if target.startswith("http"):
                continue
            path, _, anchor = target.partition("#")
            linked = (readme.parent / path).resolve()
            assert linked.exists(), f"{readme}: {target}"
            if anchor:
                headings = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
                slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
                assert anchor in slugs, f"{readme}: {target}"
