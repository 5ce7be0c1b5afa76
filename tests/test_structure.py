"""dvc.yaml against the code: what stages depend on, and what their scripts accept."""

import ast
import re
import shlex
from pathlib import Path

import pytest
import yaml

from conftest import ROOT, run_stage
from goodnet.repairs import plans

BODIES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
STAGES = {name: body.get("do", body) for name, body in BODIES.items()}
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())


def our_imports(path):
    """All modules of ours that a script imports, directly or through another, as paths."""
    found, pending = set(), [path]
    while pending:
        for node in ast.walk(ast.parse((ROOT / pending.pop()).read_text())):
            names = []
            if isinstance(node, ast.ImportFrom):
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                module = Path("stages", *name.split(".")).with_suffix(".py")
                if (ROOT / module).is_file() and str(module) not in found:
                    found.add(str(module))
                    pending.append(module)
    return found


def paths(entries):
    return {next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries}


def results(body):
    return paths(body.get("outs", [])) | paths(body.get("metrics", []))


# The folders where every repair leaves a result, which plan removes once the repair is gone.
RESULTS_OF_REPAIRS = {
    str(Path(result).parent)
    for body in BODIES.values()
    if "foreach" in body
    for result in results(body["do"])
}


def flags(stage):
    words = shlex.split(STAGES[stage]["cmd"])
    assert words[:2] == ["python", f"stages/{stage}.py"]
    return dict(zip(words[2::2], words[3::2], strict=True))


def test_every_stage_has_its_script_and_every_script_its_stage():
    assert {path.stem for path in (ROOT / "stages").glob("*.py")} == set(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_deps_list_the_script_and_all_it_imports(stage):
    script = f"stages/{stage}.py"
    listed = {dep for dep in STAGES[stage]["deps"] if dep.startswith("stages/")}
    assert listed == {script} | our_imports(script)
    assert STAGES[stage]["deps"] == list(dict.fromkeys(STAGES[stage]["deps"]))


@pytest.mark.parametrize("stage", STAGES)
def test_flags_name_all_deps_and_outs(stage):
    body = STAGES[stage]
    data = {dep for dep in body["deps"] if not dep.startswith("stages/")}
    cleared = RESULTS_OF_REPAIRS if stage == "plan" else set()
    assert set(flags(stage).values()) == data | results(body) | cleared


# demo_data takes no file that could be missing; the pipeline's own tests run it.
@pytest.mark.parametrize("stage", sorted(set(STAGES) - {"demo_data"}))
def test_the_script_accepts_its_flags(stage, tmp_path):
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    arguments = {
        flag.removeprefix("--").replace("-", "_"): re.sub(r"\$\{\w+\}", "demo", value)
        for flag, value in flags(stage).items()
    }
    with pytest.raises((ValueError, OSError)):  # its files are missing; argparse would raise SystemExit
        run_stage(tmp_path, stage, **arguments)


@pytest.mark.parametrize("stage", STAGES)
def test_params_are_those_the_script_reads(stage):
    source = (ROOT / "stages" / f"{stage}.py").read_text()
    read = {
        ".".join(re.findall(r'"(\w+)"', keys))
        for keys in re.findall(r"read_(?:params|number|settings)\(args\.params((?:, [^)]+)?)\)", source)
    }
    if "read_input_max" in source:
        read.add("nets.${badnet}.input_max")
    listed = set(STAGES[stage].get("params", []))
    if stage == "report":
        assert read == {""} and listed == {"badnet", "prune", "repairs"}
    elif stage == "plan":
        assert listed == {"repairs", *plans.TUNINGS}
    else:
        assert {entry.split(".")[0] for entry in read} == {entry.split(".")[0] for entry in listed}


def test_every_number_in_params_has_a_comment():
    for line in (ROOT / "params.yaml").read_text().splitlines():
        if re.match(r"\s+\w+: .*\d", line) and not re.match(r"\s+(x\d\d|sunglasses|sticker):", line):
            assert "#" in line, line


def test_tensorflow_is_imported_only_by_stages_that_run_a_network():
    runs = {stage for stage in STAGES if "stages/goodnet/networks.py" in our_imports(f"stages/{stage}.py")}
    assert runs == set(STAGES) - {"demo_data", "plan", "evaluate_goodnet", "report"}
    for stage in ("rank", "repair"):  # which run one only where a ranking or a tuning needs it
        code = (ROOT / "stages" / f"{stage}.py").read_text()
        assert not re.search(r"^from goodnet import .*\b(networks|masks|training)\b", code, re.M)
    for path in (ROOT / "stages").rglob("*.py"):  # goodnet.networks quiets TensorFlow
        if re.search(r"^\s*(import|from) (keras|tensorflow)", path.read_text(), re.M):
            assert path.stem == "networks" or "stages/goodnet/networks.py" in our_imports(path), path


def test_the_readme_shows_the_reports_figures():
    """The README's table is the committed report's, to the letter."""
    tables = [
        [
            line
            for line in (ROOT / name).read_text().splitlines()
            if re.match(r"\| (net|BadNet|repaired|GoodNet) ", line)
        ]
        for name in ("README.md", "reports/README.md")
    ]
    assert tables[0] == tables[1] and len(tables[0]) > 2
