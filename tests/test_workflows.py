"""The workflows of the hosting service: they parse, ask for little, and call make.

They cannot run here. What can be checked is their form, and that each command that
they run is a target of the Makefile, so that nothing lives only on the service.
"""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
MAKE = re.compile(r"make ([a-z-]+)(?: [A-Z_]+=\S+)*")


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.stem)
def source(request):
    return request.param.read_text(encoding="utf-8")


def load(text):
    """Parse a workflow; YAML 1.1 reads its key `on` as true."""
    workflow = yaml.safe_load(text)
    workflow["on"] = workflow.pop(True, workflow.get("on"))
    return workflow


def make_targets(makefile):
    return set(re.findall(r"^([a-z-]+):(?!=)", makefile, re.MULTILINE))


def steps(workflow):
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def problems(text, targets):
    """List what is wrong with a workflow, given the Makefile's targets."""
    workflow = load(text)
    return [
        *_header_problems(text, workflow),
        *_step_problems(workflow, targets),
        *_permission_problems(workflow),
    ]


def _header_problems(text, workflow):
    if not text.startswith("# Not run yet on the hosting service"):
        yield "does not begin with the remark that it has not run"
    for key in ("name", "on", "permissions", "concurrency", "jobs"):
        if not workflow.get(key):
            yield f"no {key}"
    for name, job in workflow["jobs"].items():
        if "timeout-minutes" not in job:
            yield f"job {name} has no timeout"


def _step_problems(workflow, targets):
    for step in steps(workflow):
        for line in step.get("run", "").splitlines():
            command = MAKE.fullmatch(line.strip())
            if not command:
                yield f"runs something else than make: {line}"
            elif command[1] not in targets:
                yield f"the Makefile has no target {command[1]}"
        action = step.get("uses")
        if action and not re.fullmatch(r"actions/[a-z-]+@v\d+", action):
            yield f"not a first-party action at a major version: {action}"


def _permission_problems(workflow):
    if workflow.get("permissions") != {"contents": "read"}:
        yield "the workflow as a whole may do more than read"
    needed = {"pages": "deploy-pages", "id-token": "deploy-pages"}
    needed["issues"] = "github-script"
    for name, job in workflow["jobs"].items():
        used = " ".join(step.get("uses", "") for step in job["steps"])
        for scope in job.get("permissions", {}):
            if needed.get(scope, "no action needs this") not in used:
                yield f"job {name} may write {scope} for no reason"


TARGETS = make_targets((ROOT / "Makefile").read_text(encoding="utf-8"))


def test_there_is_a_workflow_for_tests_for_publishing_and_for_every_week():
    assert {path.stem for path in WORKFLOWS} >= {"test", "deploy", "weekly"}


def test_workflow_is_in_order(source):
    assert problems(source, TARGETS) == []


def test_tests_run_on_every_supported_python():
    workflow = load((ROOT / ".github/workflows/test.yml").read_text())
    matrix = workflow["jobs"]["test"]["strategy"]["matrix"]
    assert matrix == {"python": ["3.11", "3.12", "3.13"]}
    assert [s["run"] for s in steps(workflow) if "run" in s] == ["make test"]


def test_book_is_published_from_where_it_is_built():
    workflow = load((ROOT / ".github/workflows/deploy.yml").read_text())
    uploaded = next(s for s in steps(workflow) if "upload-pages" in s.get("uses", ""))
    assert uploaded["with"] == {"path": "_build/html"}
    assert workflow["jobs"]["deploy"]["needs"] == "build"
    assert "deploy-pages" in workflow["jobs"]["deploy"]["steps"][0]["uses"]


def test_failed_week_opens_an_issue():
    workflow = load((ROOT / ".github/workflows/weekly.yml").read_text())
    assert "schedule" in workflow["on"]
    report = workflow["jobs"]["report"]
    assert (report["needs"], report["if"]) == ("notebooks", "failure()")
    assert report["permissions"] == {"issues": "write"}
    assert "issues.create(" in report["steps"][0]["with"]["script"]


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_the_guides_name_only_targets_and_files_that_exist(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    named = re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE)
    assert named
    assert set(named) <= TARGETS
    files = re.findall(r"[\w./-]+/[\w.-]+\.(?:py|toml|ipynb|bib|csv|md)\b", text)
    assert [f for f in files if not (ROOT / f).exists()] == []


GOOD = """# Not run yet on the hosting service
name: x
on: {push: {}}
permissions: {contents: read}
concurrency: {group: x}
jobs:
  a:
    timeout-minutes: 5
    steps:
      - uses: actions/checkout@v6
      - run: make test VENV=here
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("# Not run yet", "# Runs every day", "has not run"),
        ("concurrency: {group: x}\n", "", "no concurrency"),
        ("contents: read", "contents: write", "more than read"),
        ("    timeout-minutes: 5\n", "", "no timeout"),
        ("make test VENV=here", "pip install torch", "else than make"),
        ("make test VENV=here", "make test && curl x", "else than make"),
        ("make test VENV=here", "make tests", "no target tests"),
        ("checkout@v6", "checkout@main", "major version"),
        ("actions/checkout@v6", "someone/checkout@v1", "first-party"),
        ("    steps:", "    permissions: {issues: write}\n    steps:", "no reason"),
    ],
)
def test_planted_fault_is_found(old, new, message):
    assert problems(GOOD, {"test"}) == []
    assert old in GOOD
    assert message in " ".join(problems(GOOD.replace(old, new), {"test"}))
