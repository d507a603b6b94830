"""A notebook starts in a known state, and a guess is judged by a factor."""

import platform
import time
from importlib import metadata

import matplotlib.pyplot as plt
import nbformat
import psutil
import pytest
import torch
from IPython.core.formatters import PlainTextFormatter
from nbclient import NotebookClient

from effdl.notebook import reveal, setup, unmet, usage
from effdl.plot import COLOURS


@pytest.fixture(autouse=True)
def _restore_state():
    threads = torch.get_num_threads()
    with plt.rc_context():
        yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode=False)
    torch.utils.deterministic.fill_uninitialized_memory = True


@pytest.mark.parametrize(
    ("measured", "guess", "unit", "line"),
    [
        (1.28, 2.0, "x", "measured 1.28x, guessed 2x: off by a factor 1.6"),
        (2.0, 1.28, "x", "measured 2x, guessed 1.28x: off by a factor 1.6"),
        (1.28, None, "x", "measured 1.28x"),
        (3, 3, "", "measured 3, guessed 3: off by a factor 1"),
        (
            4089184256,
            4e9,
            " MACs",
            "measured 4,090,000,000 MACs, guessed 4,000,000,000",
        ),
        (0.0, 2, " points", "measured 0 points, guessed 2 points: off by 2 points"),
        (-1, 3, " %", "measured -1 %, guessed 3 %: off by 4 %"),
        (0.00123, None, " s", "measured 0.00123 s"),
        (2.5e15, None, "", "measured 2.5e+15"),
    ],
)
def test_reveal_by_hand(measured, guess, unit, line):
    assert reveal(measured, guess, unit).startswith(line)


def test_a_tensor_of_one_number_is_a_number():
    assert reveal(torch.tensor(2.0), guess=4) == (
        "measured 2, guessed 4: off by a factor 2"
    )


def test_a_notebook_shows_the_line_without_quotes():
    assert PlainTextFormatter()(reveal(2, unit="x")) == "measured 2x"


@pytest.mark.parametrize(
    ("measured", "guess", "message"),
    [
        (1.0, "2x", "guess must be a number without a unit, such as 2.5, got '2x'"),
        (1.0, float("inf"), "guess must be a number"),
        (float("nan"), None, "measured must be a number .* got nan"),
        (1.0, [2], r"guess must be a number .* got \[2\]"),
    ],
)
def test_what_is_no_number_is_an_error(measured, guess, message):
    with pytest.raises(ValueError, match=message):
        reveal(measured, guess)


def test_setup_fixes_threads_algorithms_and_style():
    torch.set_num_threads(2)
    assert setup() is None
    assert torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert plt.rcParams["text.color"] == COLOURS.grey


def test_setup_does_not_slow_down_empty_tensors():
    """PyTorch would fill each with NaN, which a timing must not pay for."""
    setup()
    assert not torch.utils.deterministic.fill_uninitialized_memory


def test_an_old_package_is_named_with_the_way_out(monkeypatch):
    monkeypatch.setattr(metadata, "requires", lambda name: ["psutil>=99", "torch>=2"])
    with pytest.raises(RuntimeError, match=r"psutil>=99, but psutil .*--upgrade"):
        setup()


def test_unmet_requirements_are_all_listed():
    clauses = unmet(["psutil<1", "no-such-package>=3", "torch>=2.6"])
    installed = psutil.__version__
    assert clauses == [
        f"effdl needs psutil<1, but psutil {installed} is installed",
        "effdl needs no-such-package, which is not installed",
    ]


def test_extras_and_other_systems_are_not_required():
    assert unmet(['nothing; extra == "test"', 'nothing; python_version < "3"']) == []


def test_a_prerelease_meets_a_range(monkeypatch):
    """Colab's torch is at times a release candidate."""
    monkeypatch.setattr(metadata, "version", lambda name: "2.12.0rc1")
    assert unmet(["torch>=2.6"]) == []
    assert len(unmet(["torch>=2.12"])) == 1


def test_usage_counts_this_process():
    before, start = usage(), time.process_time()
    while time.process_time() < start + 0.05:
        pass
    after = usage()
    assert after.cpu_seconds - before.cpu_seconds >= 0.05
    assert after.python == platform.python_version()
    assert after.torch == torch.__version__


def test_peak_memory_covers_what_is_resident_now():
    resident = psutil.Process().memory_info().rss / 1e6
    peak = usage().peak_memory_mb
    assert 0.9 * resident <= peak < 100 * resident


def test_peak_memory_rises_with_an_allocation_and_stays():
    before = usage().peak_memory_mb
    block = bytearray(int((before + 100) * 1e6))
    del block
    assert usage().peak_memory_mb > before + 90


def test_device_names_cores_of_this_process():
    process = psutil.Process()
    has_affinity = hasattr(process, "cpu_affinity")  # not on macOS
    cores = len(process.cpu_affinity()) if has_affinity else psutil.cpu_count()
    assert usage().device.endswith(f", {cores} cores")


def test_a_kernel_stores_the_picture_with_its_alt_text():
    """The way every notebook of the book goes: kernel, setup, show, stored file."""
    cell = nbformat.v4.new_code_cell(
        "import matplotlib.pyplot as plt\n"
        "from effdl.notebook import setup\n"
        "from effdl.plot import show\n"
        "setup()\n"
        "fig, ax = plt.subplots()\n"
        "ax.plot([1, 2])\n"
        "show(fig, alt='One line.')"
    )
    book = nbformat.v4.new_notebook(cells=[cell])
    NotebookClient(book, timeout=60, kernel_name="python3").execute()
    (output,) = book.cells[0].outputs
    assert output.output_type == "display_data"
    assert output.metadata == {"image/svg+xml": {"alt": "One line."}}
    assert output.data["text/plain"] == "One line."
    assert output.data["image/svg+xml"].startswith("<svg ")
