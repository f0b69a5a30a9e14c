"""The commands themselves: what they ask of the libraries, and the status that they end with."""

import pathlib
import subprocess
import sys
import types

import jax
import pytest
from absl import app
from PIL import Image

import hpa_jax
from configs import common
from hpa_jax import assess, command, convert, export, interrupt, main, recognize
from hpa_jax.data.plate import DataError, Plate
from tests.data import trees


@pytest.fixture(autouse=True)
def signals(monkeypatch):
    """Of commands that asked to be ended by them; nothing changes in this process."""
    asked = []
    monkeypatch.setattr(command, "set_up", lambda: None)
    monkeypatch.setattr(command, "end_by_signals", lambda: asked.append("Ctrl-C, a closed pipe"))
    return asked


def set_flags(monkeypatch, module, **values):
    """As a command line would."""
    for name, value in values.items():
        flag = types.SimpleNamespace(value=value)
        monkeypatch.setattr(module, f"_{name}", flag, raising=False)


def stand_in(characters, places=7):
    """What is asked of a reader beside reading."""
    network = types.SimpleNamespace(num_characters=places)
    return types.SimpleNamespace(charset=hpa_jax.Charset(characters), model=network)


@pytest.fixture
def calls(monkeypatch):
    """What `main` does, in order; training raises `calls.error` if there is one."""
    done = types.SimpleNamespace(names=[], error=None)

    def train(*_):
        done.names.append("train")
        if done.error:
            raise done.error

    monkeypatch.setattr(main, "_end_at_sigterm", lambda: done.names.append("heed SIGTERM"))
    monkeypatch.setattr(main.train, "train_and_evaluate", train)
    monkeypatch.setattr(main.evaluate, "evaluate_run", lambda *_: done.names.append("evaluate"))
    return done


@pytest.mark.parametrize(
    ("mode", "error", "status", "names"),
    [
        ("train", None, 0, ["heed SIGTERM", "train", "heed SIGTERM", "evaluate"]),
        ("evaluate", None, 0, ["heed SIGTERM", "heed SIGTERM", "evaluate"]),
        ("train", ValueError("wrong"), 1, ["heed SIGTERM", "train"]),
        ("train", interrupt.Interrupted("stopped"), 143, ["heed SIGTERM", "train"]),
    ],
)
def test_a_mode_does_no_more_than_it_says_and_its_status_tells(
    mode, error, status, names, calls, monkeypatch
):
    set_flags(monkeypatch, main, MODE=mode, CONFIG=None, WORKDIR="run", DISTRIBUTED=False)
    calls.error = error
    assert main.main(["main"]) == status
    assert calls.names == names


def test_a_bucket_is_no_folder(calls, monkeypatch, capsys):
    set_flags(monkeypatch, main, MODE="train", CONFIG=None, WORKDIR="gs://b/r", DISTRIBUTED=False)
    assert main.main(["main"]) == 1
    assert "mount a bucket" in capsys.readouterr().err and "train" not in calls.names


def test_who_names_no_config_is_told_of_one_and_help_says_what_each_mode_does(tmp_path):
    command = [sys.executable, "-m", "hpa_jax.main", f"--workdir={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "--config=FILE says what to do: configs/quickstart.py is the shortest" in done.stderr
    asked = [*command, "--config=configs/quickstart.py:resnet50"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert done.stderr == "error: --config: this file takes no argument after a colon\n"
    asked = [*command[:1], "-X", "importtime", *command[1:], "--help"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    said = " ".join(done.stdout.split())
    assert all(f"{mode}: " in said for mode in ("train", "evaluate", "prepare", "inspect"))
    assert " jax\n" in done.stderr and " torch\n" not in done.stderr  # a second, of no use here


@pytest.mark.parametrize(
    ("line", "flag", "says"),
    [
        ("c.num_step = 9", "seed=1", """'num_step'. Did you mean "num_steps" instead of"""),
        ("c.data.update(tiltt=9)", "seed=1", """'tiltt'. Did you mean "tilt" instead of"""),
        ("c.seed = 9", "optimiser.eps=1", """'optimiser' Did you mean "optimizer" instead of"""),
    ],
)
def test_a_config_that_misspells_a_field_is_told_so(line, flag, says, tmp_path):
    assert common.get_config().is_locked
    done = run_with_config(tmp_path, line, f"--config.{flag}")
    assert done.stderr.startswith(f"error: the config has no field {says}")
    assert done.returncode == 1 and done.stderr.count("\n") == 1


def test_a_fault_in_a_config_file_is_shown_where_it_is(tmp_path):
    done = run_with_config(tmp_path, "c.charset = common.GREECE")
    assert "c.charset = common.GREECE" in done.stderr and done.returncode == 1
    assert "no field" not in done.stderr


def run_with_config(folder, line, *flags):
    file = folder / "mine.py"
    lines = "from configs import common", "def get_config():", "  c = common.get_config()"
    file.write_text("\n".join([*lines, f"  {line}", "  return c"]))
    command = [sys.executable, "-m", "hpa_jax.main", f"--config={file}", "--workdir=unused", *flags]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("error", [OSError("a shard cannot be read"), KeyError("image")])
def test_a_process_of_several_that_fails_keeps_none_waiting(error, calls, monkeypatch, capsys):
    set_flags(monkeypatch, main, MODE="train", CONFIG=None, WORKDIR="run", DISTRIBUTED=True)
    monkeypatch.setattr(jax.distributed, "initialize", lambda: None)
    ended = []
    monkeypatch.setattr(main, "_end_now", ended.append)
    calls.error = error
    main.main(["main"])
    assert ended == [1]
    assert str(error) in capsys.readouterr().err


def test_a_job_of_one_process_heeds_sigterm_while_it_starts(calls, monkeypatch):
    """Of several, the service that takes it when they join tells the first step."""
    set_flags(monkeypatch, main, MODE="train", CONFIG=None, WORKDIR="run", DISTRIBUTED=True)
    monkeypatch.setattr(jax.distributed, "initialize", lambda: calls.names.append("join"))
    for processes, heeds in ((1, ["heed SIGTERM"]), (2, [])):
        monkeypatch.setattr(jax, "process_count", lambda count=processes: count)
        calls.names.clear()
        main.main(["main"])
        assert calls.names[:3] == ["heed SIGTERM", "join", *heeds, "train"][:3]


def test_assess_reads_the_split_with_the_margin_and_tells_of_what_it_left_out(
    tmp_path, monkeypatch, capsys
):
    rows = ["0.png,AB12,dev,10,10,50,30", "1.png,AB13,train,10,10,50,30", "2.png,AB14,dev,,,,"]
    header = "file,text,split,x1,y1,x2,y2"
    trees.write(tmp_path / "labels.csv", "\n".join([header, *rows]))
    for name in ("0.png", "1.png"):
        Image.new("RGB", (60, 40)).save(tmp_path / name)
    trees.write(tmp_path / "2.png", b"broken")
    sizes = []

    def read_with_all(recognizers, images):
        for make in images:
            try:
                sizes.append(make().size)
                yield recognize.Reading("AB12", 0.9, ())
            except DataError as error:
                yield error

    several = [stand_in("XY", places=3), stand_in("AB123")]
    monkeypatch.setattr(recognize, "read_with_all", read_with_all)
    monkeypatch.setattr(recognize, "load_recognizers", lambda names: several)
    options = {"CHECKPOINT": None, "RENDERED": 0, "FONTS": [], "FIT": False, "TO": None}
    set_flags(monkeypatch, assess, SPLIT="DEV", MARGIN=0.1, **options)
    assert assess._main(["assess", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert sizes == [(48, 24)]
    assert "2 of 3 plates are of the split" in said.out and "1 left out" in said.err
    assert "reading:   0%" in said.err and " 0.00/2.00 " in said.err  # a bar, of many plates slow
    assert "cannot write" not in said.out and "longer" not in said.out  # for one of them can
    set_flags(monkeypatch, assess, SPLIT="test")
    assert assess._main(["assess", str(tmp_path)]) == 2
    assert "has no split 'test', but dev, train" in capsys.readouterr().err
    set_flags(monkeypatch, assess, SPLIT=None)
    for bad, says in ((rows[2], "none of its plates can be read"), ("2.png,,,", "has no plates")):
        trees.write(tmp_path / "labels.csv", f"{header}\n{bad}")
        assert assess._main(["assess", str(tmp_path)]) == 2
        assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "values", "says"),
    [
        ([], {}, "name one folder of labelled photographs"),
        (["folder"], {"RENDERED": 2}, "name one folder of labelled photographs"),
        ([], {"RENDERED": 2, "MARGIN": 0.1}, "--split and --margin are for photographs"),
        ([], {"RENDERED": 2, "SPLIT": "dev"}, "--split and --margin are for photographs"),
        (["folder"], {"FONTS": ["pillow"]}, "--fonts is for --rendered"),
        (["folder"], {"FIT": True, "CHECKPOINT": None}, "are for one --checkpoint"),
        (["folder"], {"FIT": True, "CHECKPOINT": ["tw", "cn"]}, "are for one --checkpoint"),
        ([], {"RENDERED": 2, "CHECKPOINT": None}, "are for one --checkpoint"),
    ],
)
def test_assess_refuses_what_does_not_go_together(arguments, values, says, monkeypatch):
    options = {"CHECKPOINT": ["tw"], "RENDERED": 0, "FONTS": [], "FIT": False, "TO": None}
    set_flags(monkeypatch, assess, **options | {"SPLIT": None, "MARGIN": 0.0} | values)
    with pytest.raises(app.UsageError, match=says):
        assess._main(["assess", *arguments])


def test_assess_renders_draws_and_fits_as_it_is_told(signals, tmp_path, monkeypatch, capsys):
    asked = []

    def render_plates(*arguments):
        asked.append(arguments)
        return [Plate(trees.jpeg(), f"rendered/{i}", "dev", "AB12") for i in range(arguments[3])]

    def read_with_all(recognizers, images):
        return [recognize.Reading("AB12", 0.9, ()) for _ in images]

    metadata = {"charset": "AB12", "network": {"num_characters": 4}, "styles": ["taiwan_old"]}
    reader = stand_in("AB12")
    monkeypatch.setattr(assess.readers, "load", lambda name: (None, metadata))
    monkeypatch.setattr(assess, "render_plates", render_plates)
    monkeypatch.setattr(assess, "fit_temperature", lambda *_: 1.5)
    monkeypatch.setattr(recognize, "read_with_all", read_with_all)
    monkeypatch.setattr(recognize, "load_recognizers", lambda names: [reader])
    to, options = tmp_path / "new", {"SPLIT": None, "MARGIN": 0.0, "RENDERED": 3}
    options |= {"CHECKPOINT": ["tw"], "FONTS": ["gothic"], "FIT": True, "TO": str(to)}
    set_flags(monkeypatch, assess, **options)
    assert assess._main(["assess"]) == 0 and signals
    assert asked == [(["taiwan_old"], reader.charset, 4, 3, ["gothic"])]
    said = capsys.readouterr().out
    assert "rendered         3/3" in said and "best temperature 1.50" in said
    assert str(to / "reliability.png") in said and (to / "reliability.png").exists()


def test_export_takes_the_format_from_the_suffix_and_says_it(
    signals, monkeypatch, tmp_path, capsys
):
    to, asked = tmp_path / "reader.onnx", []

    def kept(path, style, to, maps, plates, *options):
        asked.append((style, maps, len(plates), *options))
        pathlib.Path(to).write_bytes(b"x" * 2**20)
        return 1

    options = {"FORMAT": None, "MAPS": True, "TEMPERATURE": 1.5, "ABOUT": "", "BITS": "8"}
    set_flags(monkeypatch, export, CHECKPOINT="run", TO=str(to), **options)
    monkeypatch.setattr(export, "export", kept)
    assert export._main(["export"]) == 0 and signals
    for name in ("0.png", "1.png"):
        Image.new("RGB", (60, 40)).save(tmp_path / name)
    set_flags(monkeypatch, export, CHECKPOINT=str(tmp_path), TO=None)
    assert export._main(["export", str(tmp_path)]) == 0  # a folder of plates for the check
    set_flags(monkeypatch, export, TO=str(tmp_path / "reader.bin"))
    assert export._main(["export"]) == 0
    step = str(tmp_path / "checkpoints/4")  # a file of it goes to its run
    set_flags(monkeypatch, export, CHECKPOINT=step, TO=None, FORMAT="npz")
    assert export._main(["export"]) == 0
    formats = [("onnx", 0), ("stablehlo", 2), ("stablehlo", 0), ("npz", 0)]
    assert asked == [(style, True, plates, 1.5, "", 8) for style, plates in formats]
    suffixes = {file.suffix for file in tmp_path.glob("reader.*")}
    assert suffixes == {".onnx", ".stablehlo", ".bin", ".npz"}
    assert "reader.bin: stablehlo, 1.0 MiB" in capsys.readouterr().out

    def refused(*_):
        raise ValueError("differs")

    monkeypatch.setattr(export, "export", refused)
    assert export._main(["export"]) == 2

    def lacking(*_):
        raise ModuleNotFoundError("No module named 'onnx'")

    monkeypatch.setattr(export, "export", lacking)
    for style, hinted in (("onnx", True), ("npz", False)):
        set_flags(monkeypatch, export, FORMAT=style)
        assert export._main(["export"]) == 2
        assert ("pip install 'hpa_jax[onnx]'" in capsys.readouterr().err) == hinted


def test_convert_does_as_it_is_told(signals, monkeypatch, capsys):
    asked = []

    def convert_back(*arguments):
        if arguments != ("run", "to"):
            raise ModuleNotFoundError("No module named 'torch'")
        return ["colour plates"]

    for name in ("convert_torchvision", "convert_vim_lpr"):
        monkeypatch.setattr(convert, name, lambda *arguments: asked.append(arguments))
    monkeypatch.setattr(convert, "convert_back", convert_back)
    set_flags(monkeypatch, convert, FROM="vim-lpr", TO="to", CHARSET="greece", GREY=False)
    with pytest.raises(app.UsageError, match="name one file"):
        convert._main(["convert"])
    assert convert._main(["convert", "weights.pth"]) == 0 and signals
    set_flags(monkeypatch, convert, CHARSET="grece")
    assert convert._main(["convert", "weights.pth"]) == 2
    set_flags(monkeypatch, convert, FROM="torchvision")
    assert convert._main(["convert", "weights.pth"]) == 0
    assert asked == [("weights.pth", "to", hpa_jax.GREECE, False), ("weights.pth", "to")]
    set_flags(monkeypatch, convert, FROM="hpa_jax")
    assert convert._main(["convert", "run"]) == 0
    assert "must be changed to take: colour plates" in capsys.readouterr().out
    assert convert._main(["convert", "other"]) == 2
    assert "'torch': pip install 'hpa_jax[torch]'" in capsys.readouterr().err


def test_recognize_asks_for_plates_and_names_a_reader_that_is_not_there(
    signals, monkeypatch, capsys
):
    set_flags(monkeypatch, recognize, LIST=False, CHECKPOINT=["nowhere"])
    with pytest.raises(app.UsageError, match="name at least one image file or folder"):
        recognize._main(["recognize"])
    assert signals
    assert recognize._main(["recognize", "plate.jpg"]) == 2
    assert capsys.readouterr().err.startswith("error: nowhere: no such run or file")
