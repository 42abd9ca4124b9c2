"""`ringleader assign`: every format in and out, every refusal, streams, memory."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st

from ringleader import HashRing
from ringleader.cli import sinks, sources
from ringleader.cli.assign import parse_nodes
from ringleader.errors import NodeError, WeightError
from ringleader.placement import Node

Run = Callable[..., Result]
Refused = Callable[..., str]

NODES = "a,b=2,c=0.5"
RING = HashRing({"a": 1.0, "b": 2.0, "c": 0.5})
#: Quotes, separators, blanks, line ends inside, emptiness, other scripts.
TRICKY = [
    "plain",
    'say "hi"',
    "a,b",
    " padded ",
    "",
    "x\ry",
    "ключ",
    "007",
    '"',
    "plain",
    "é" * 300,
]


def rows(text: str | bytes) -> list[list[str]]:
    if isinstance(text, bytes):
        text = text.decode(errors="surrogateescape")
    return list(csv.reader(io.StringIO(text, newline="")))


def table_of(path: Path | str) -> pa.Table:
    if str(path).endswith(".parquet"):
        return pq.read_table(path)
    if str(path).endswith(".arrow"):
        return pa.ipc.open_file(path).read_all()
    options = pyarrow.csv.ConvertOptions(column_types={"key": pa.string(), "id": pa.string()})
    return pyarrow.csv.read_csv(
        path,
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=options,
    )


def write_column(path: str, keys: pa.Array | list[Any], name: str = "id") -> None:
    """A file of a column of keys beside another column."""
    array = keys if isinstance(keys, pa.Array) else pa.array(keys)
    table = pa.table({"other": np.arange(len(array)), name: array})
    if path.endswith(".parquet"):
        pq.write_table(table, path)
    elif path.endswith(".csv"):
        with open(path, "w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(table.column_names)
            writer.writerows(zip(*(column.to_pylist() for column in table.columns), strict=True))
    else:
        with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)


# --- what comes out ---------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["csv", "parquet", "arrow"])
@pytest.mark.parametrize("origin", ["txt", "csv", "parquet", "arrow"])
def test_every_format_gives_the_same_owners(run: Run, origin: str, target: str) -> None:
    keys = [key for key in TRICKY if "\n" not in key] + [f"user:{i}" for i in range(1000)]
    column = []
    if origin == "txt":
        Path("k.txt").write_text("".join(f"{key}\n" for key in keys), newline="", encoding="utf-8")
    else:
        write_column(f"k.{origin}", keys)
        column = ["--column", "id"]
    result = run("assign", f"k.{origin}", "--nodes", NODES, *column, "-o", f"o.{target}")
    assert result.exit_code == 0, result.output
    out = table_of(f"o.{target}")
    assert out.column_names == ["key" if origin == "txt" else "id", "node"]
    assert out.column(0).to_pylist() == keys
    assert out.column(1).to_pylist() == [RING[key] for key in keys]
    assert len(os.listdir()) == 2
    assert f"{len(keys):,} keys placed" in result.stdout


@pytest.mark.parametrize("target", ["csv", "parquet", "arrow"])
def test_replicas_are_columns(run: Run, target: str) -> None:
    keys = [f"user:{i}" for i in range(500)]
    write_column("k.parquet", keys)
    result = run(
        *["assign", "k.parquet", "--column", "id", "--nodes", NODES, "--replicas", "3"],
        *["-o", f"o.{target}", "--node-column", "host"],
    )
    assert result.exit_code == 0, result.output
    out = table_of(f"o.{target}")
    assert out.column_names == ["id", "host_1", "host_2", "host_3"]
    got = zip(*(out.column(i).to_pylist() for i in (1, 2, 3)), strict=True)
    assert [list(names) for names in got] == [RING.get_nodes(key, 3) for key in keys]


@pytest.mark.parametrize("target", ["csv", "parquet", "arrow"])
@pytest.mark.parametrize(
    "type_", [pa.int8(), pa.uint64(), pa.int64(), pa.binary(), pa.large_string(), pa.string_view()]
)
def test_keys_keep_their_type(run: Run, type_: pa.DataType, target: str) -> None:
    integers = [0, 1, 2, 100, 100, 7] if pa.types.is_integer(type_) else None
    keys = integers or [b"a", b"b,", b"c"] if type_ == pa.binary() else integers or ["a", "b,", "c"]
    for origin in ("parquet", "arrow"):
        write_column(f"k.{origin}", pa.array(keys, type_))
        args = ["assign", f"k.{origin}", "--column", "id", "--nodes", NODES, "--force"]
        result = run(*args, "-o", f"o.{target}")
        assert result.exit_code == 0, result.output
        out = table_of(f"o.{target}")
        assert out.column("node").to_pylist() == [RING[key] for key in keys]
        if target == "csv":
            texts = [k.decode() if isinstance(k, bytes) else str(k) for k in keys]
            assert out.column("id").to_pylist() == texts
        else:
            assert out.column("id").to_pylist() == keys
            assert pa.types.is_dictionary(out.schema.field("node").type)
            if not pa.types.is_string_view(type_):  # older Parquet readers give a string
                assert out.schema.field("id").type == type_


def test_dictionary_keys_are_written_as_their_values(run: Run) -> None:
    keys = ["x", "y", "x", "z"]
    for origin in ("parquet", "arrow"):
        write_column(f"d.{origin}", pa.array(keys).dictionary_encode())
        result = run(
            *["assign", f"d.{origin}", "--column", "id", "--nodes", NODES],
            *["-o", "d-out.arrow", "--force"],
        )
        assert result.exit_code == 0, result.output
        out = table_of("d-out.arrow")
        assert out.column("id").to_pylist() == keys
        assert out.column("node").to_pylist() == [RING[key] for key in keys]


def test_an_arrow_stream_is_read_like_a_file(run: Run) -> None:
    table = pa.table({"id": [f"k{i}" for i in range(3000)]})
    with pa.OSFile("s.arrow", "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=700)
    result = run("assign", "s.arrow", "--nodes", NODES, "-o", "o.csv")
    assert result.exit_code == 0, result.output
    assert table_of("o.csv").column("node").to_pylist() == [RING[f"k{i}"] for i in range(3000)]


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (b"", []),
        (b"\n", [b""]),
        (b"a", [b"a"]),
        (b"a\n", [b"a"]),
        (b"a\nb", [b"a", b"b"]),
        (b"a\r\nb\r\n", [b"a", b"b"]),
        (b"a\r\n\r\nb", [b"a", b"", b"b"]),
        (b"a\n\n", [b"a", b""]),
        (b"a\r", [b"a\r"]),
        (b" a \t\n", [b" a \t"]),
        (b"\xff\xfe\nb\x00\n", [b"\xff\xfe", b"b\x00"]),
    ],
)
@pytest.mark.parametrize("arrow", [True, False])
def test_lines_of_text(
    run: Run, without: Callable[[str], None], text: bytes, keys: list[bytes], arrow: bool
) -> None:
    if not arrow:
        without("pyarrow")
    result = run("assign", "-", "--nodes", NODES, "-o", "-", input=text)
    assert result.exit_code == 0, result.output
    assert result.stdout_bytes.endswith(b"\n")
    assert b"\r\n" not in result.stdout_bytes
    read = rows(result.stdout_bytes)
    assert read[0] == ["key", "node"]
    assert [row[0].encode(errors="surrogateescape") for row in read[1:]] == keys
    assert [row[1] for row in read[1:]] == [RING[key] for key in keys]


@given(
    st.lists(st.text(st.sampled_from('ab",\r\té')).map(str.encode) | st.binary(), max_size=20),
    st.integers(1, 9),
    st.sampled_from(["text", "bytes"]),
)
def test_both_csv_writers_write_what_a_reader_reads(
    keys: list[bytes], block: int, key_type: str
) -> None:
    """However the text is cut into blocks, and with pyarrow or without."""
    keys = [key.replace(b"\n", b"") for key in keys]
    keys = [key.rstrip(b"\r") for key in keys]
    text = b"".join(key + b"\n" for key in keys)
    names = ["a", 'odd "name"', "c,d"]
    positions = np.arange(len(keys), dtype=np.uint32) % 3
    written = []
    for arrow in (True, False):
        out = io.BytesIO()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sources, "BLOCK_BYTES", block)
            if not arrow:
                patch.setattr(sources, "find_spec", lambda name: None)
            with (
                sources.open_source(
                    "-", None, key_type, stdin=io.BytesIO(text), strict=False
                ) as source,
                sinks.open_sink(
                    "-", source, ["n 1", "n,2"], names, stdout=out, force=False
                ) as sink,
            ):
                done = 0
                for piece in source.batches():
                    part = positions[done : done + len(piece)]
                    sink.write(piece, np.column_stack([part, part[::-1]]))
                    done += len(piece)
        written.append(out.getvalue())
        assert done == len(keys)
    assert written[0] == written[1]
    read = rows(written[0])
    assert read[0] == ["key", "n 1", "n,2"]
    assert [row[0].encode(errors="surrogateescape") for row in read[1:]] == keys
    assert [row[1] for row in read[1:]] == [names[position] for position in positions]


@pytest.mark.parametrize("arrow", [True, False])
@pytest.mark.parametrize(
    ("key_type", "cells"),
    [
        ("int", ["7", "007", "-0", str(-(2**63)), str(2**63 - 1)]),
        ("uint", ["7", "0", str(2**64 - 1)]),
    ],
)
def test_integers_in_text(
    run: Run, without: Callable[[str], None], key_type: str, cells: list[str], arrow: bool
) -> None:
    if not arrow:
        without("pyarrow")
    text = "\n".join(cells).encode()
    result = run("assign", "-", "--key-type", key_type, "--nodes", NODES, "-o", "-", input=text)
    assert result.exit_code == 0, result.output
    assert rows(result.stdout)[1:] == [[str(int(cell)), RING[int(cell)]] for cell in cells]


@pytest.mark.parametrize("key_type", ["int", "uint"])
def test_integers_in_csv(run: Run, key_type: str) -> None:
    write_column("k.csv", ["7", "00012", "0"])
    args = ["assign", "k.csv", "--column", "id", "--nodes", NODES]
    assert run(*args, "--key-type", key_type, "-o", "o.parquet").exit_code == 0
    out = table_of("o.parquet")
    assert out.column("id").to_pylist() == [7, 12, 0]
    assert out.schema.field("id").type == (pa.int64() if key_type == "int" else pa.uint64())
    assert out.column("node").to_pylist() == [RING[key] for key in (7, 12, 0)]


def test_cells_of_csv_are_text(run: Run) -> None:
    Path("k.csv").write_text('\ufeffid\n007\n"multi\nline"\n\n""\nNA\n', encoding="utf-8")
    assert run("assign", "k.csv", "--nodes", NODES, "-o", "o.arrow").exit_code == 0
    out = table_of("o.arrow")
    assert out.column("id").to_pylist() == ["007", "multi\nline", "", "NA"]
    assert out.schema.field("id").type == pa.large_string()


def test_bytes_that_are_no_text(run: Run, refused: Refused) -> None:
    Path("k.txt").write_bytes(b"ok\n\xff\n")
    args = ["assign", "k.txt", "--nodes", NODES, "-o", "o.parquet"]
    assert "k.txt: line 2 is not UTF-8" in refused(*args)
    assert run(*args, "--key-type", "bytes").exit_code == 0
    assert table_of("o.parquet").column("key").to_pylist() == [b"ok", b"\xff"]


@pytest.mark.parametrize("origin", ["csv", "parquet", "arrow"])
@pytest.mark.parametrize("target", ["csv", "parquet", "arrow"])
def test_a_file_without_keys(run: Run, origin: str, target: str) -> None:
    write_column(f"k.{origin}", pa.array([], pa.string()))
    result = run(
        *["assign", f"k.{origin}", "--column", "id", "--nodes", NODES, "-o", f"o.{target}"]
    )
    assert result.exit_code == 0, result.output
    assert table_of(f"o.{target}").num_rows == 0
    assert "0 keys placed" in result.stdout


def test_without_output_only_the_table_is_shown(run: Run) -> None:
    Path("k.txt").write_text("".join(f"{i}\n" for i in range(3500)))
    result = run("assign", "k.txt", "--nodes", NODES, "--threads", "2")
    assert result.exit_code == 0
    assert os.listdir() == ["k.txt"]
    counts = np.bincount(RING.lookup([str(i) for i in range(3500)]), minlength=3)
    for name, count in zip(RING.names, counts, strict=True):
        line = next(line for line in result.stdout.splitlines() if line.startswith(f"{name} "))
        assert f"{count:,}" in line
        assert f"{count / 3500:.2%}" in line
    assert "\x1b" not in result.stdout


def test_the_table_of_replicas_counts_copies(run: Run) -> None:
    result = run(
        *["assign", "-", "--nodes", "a,b", "--replicas", "2", "-o", "-"], input=b"1\n2\n3\n"
    )
    assert result.stdout.count("\n") == 4
    assert "copies" in result.stderr
    assert "6" in result.stderr.splitlines()[-2]


def test_a_large_fleet_shows_its_extremes(run: Run) -> None:
    names = ",".join(f"node-{i:03}" for i in range(100))
    result = run("assign", "-", "--nodes", names, input=b"".join(b"%d\n" % i for i in range(9999)))
    assert "... 60 more ..." in result.stdout
    assert len(result.stdout.splitlines()) < 60


def test_a_ring_file_or_a_saved_ring(run: Run) -> None:
    ring = HashRing([Node("x", 2, dc="eu"), Node("y", dc="us")], vnodes=40, hash="xxh64", seed=9)
    Path("ring.toml").write_text(
        '[ring]\nvnodes = 40\nhash = "xxh64"\nseed = 9\n'
        '[[node]]\nname = "x"\nweight = 2\ndc = "eu"\n[[node]]\nname = "y"\ndc = "us"\n'
    )
    Path("ring.bin").write_bytes(ring.to_bytes())
    text = b"".join(b"%d\n" % i for i in range(100))
    expected = [[str(i), ring[str(i)]] for i in range(100)]
    for file in ("ring.toml", "ring.bin"):
        result = run("assign", "-", "--ring", file, "-o", "-", input=text)
        assert rows(result.stdout)[1:] == expected
        assert "all of eu" in result.stderr
    result = run(
        *["assign", "-", "--nodes", "x=2,y", "--vnodes", "40", "--hash", "xxh64", "--seed", "0x9"],
        *["-o", "-"],
        input=text,
    )
    assert rows(result.stdout)[1:] == expected


def test_force_replaces_a_file_and_keeps_a_link(run: Run) -> None:
    Path("real.csv").write_text("old")
    os.symlink("real.csv", "o.csv")
    assert (
        run("assign", "-", "--nodes", NODES, "-o", "o.csv", "--force", input=b"k\n").exit_code == 0
    )
    assert os.path.islink("o.csv")
    assert rows(Path("real.csv").read_bytes())[1:] == [["k", RING["k"]]]


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX")
def test_the_output_has_the_mode_of_any_new_file(run: Run) -> None:
    assert run("assign", "-", "--nodes", NODES, "-o", "o.csv", input=b"k\n").exit_code == 0
    Path("plain").touch()
    assert Path("o.csv").stat().st_mode == Path("plain").stat().st_mode


# --- nodes on the command line ----------------------------------------------------------------


def test_nodes_with_weights() -> None:
    assert parse_nodes("a, b=2 ,c=0.5,d=e=3") == [
        Node("a"),
        Node("b", 2.0),
        Node("c", 0.5),
        Node("d=e", 3.0),
    ]


@pytest.mark.parametrize("weight", ["x", "", "nan", "inf", "-1"])
def test_a_weight_that_is_none(weight: str) -> None:
    with pytest.raises(WeightError, match="'a'"):
        parse_nodes(f"a={weight}")


@pytest.mark.parametrize("text", ["", "a,,b", "=2"])
def test_a_node_without_a_name(text: str) -> None:
    with pytest.raises(NodeError, match="empty"):
        parse_nodes(text)


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["-"], "either --nodes a,b,c or --ring FILE"),
        (["-", "--nodes", "a", "--ring", "r.toml"], "either --nodes a,b,c or --ring FILE"),
        (["-", "--ring", "r.toml", "--vnodes", "7"], "FILE has its own"),
        (["-", "--ring", "none.toml"], "none.toml: No such file"),
        (["-", "--nodes", "a,a"], "'a' is given twice"),
        (["-", "--nodes", "a=-1"], "weight of node 'a' is -1"),
        (["-", "--nodes", "a=zwei"], "'zwei', which is not a number"),
        (["-", "--nodes", "a=0"], "positive weight"),
        (["-", "--nodes", "a,b", "--replicas", "3"], "3"),
        (["-", "--nodes", "a,b", "--replicas", "0"], "0 is not in the range"),
        (["-", "--nodes", "a", "--vnodes", "0"], "vnodes=0"),
        (["-", "--nodes", "a", "--seed", "x"], "'x' is not an integer"),
        (["-", "--nodes", "a", "--seed", "-1"], "seed"),
        (["-", "--nodes", "a", "--hash", "md4"], "md4"),
        (["-", "--nodes", "a", "--threads", "0"], "0 is not in the range"),
        (["-", "--nodes", "a", "--column", "id"], "lines of text have no columns"),
        (["-", "--nodes", "a", "-o", "o.xml"], "'.xml' is not one of .csv, .parquet, .arrow"),
        (["-", "--nodes", "a", "-o", "there.csv"], "there.csv exists already; --force"),
        (["-", "--nodes", "a", "-o", "folder.csv", "--force"], "folder.csv: is a directory"),
        (["-", "--nodes", "a", "-o", "no/such/o.csv"], "no/such/o.csv: No such file"),
        (["there.csv", "--nodes", "a", "-o", "there.csv", "--force"], "keys are read from"),
        (["there.csv", "--nodes", "a", "-o", "./there.csv", "--force"], "keys are read from"),
        (["none.txt", "--nodes", "a", "-o", "o.csv"], "none.txt: No such file"),
        (["none.csv", "--nodes", "a", "-o", "o.csv"], "none.csv: No such file"),
        (["none.parquet", "--nodes", "a", "-o", "o.csv"], "none.parquet: "),
        (["none.arrow", "--nodes", "a", "-o", "o.csv"], "none.arrow: No such file"),
        (["none.xlsx", "--nodes", "a"], "none.xlsx: No such file"),
        (["odd.xlsx", "--nodes", "a"], "'.xlsx' is not one of .txt, .csv, .parquet, .arrow"),
        (["folder.csv", "--nodes", "a", "-o", "o.csv"], "folder.csv: Is a directory"),
        (["there.csv", "--nodes", "a", "--column", "x"], "no column 'x'; there are 'p', 'q'"),
        (["there.csv", "--nodes", "a"], "which of its 2 columns"),
        (["there.csv", "--nodes", "a", "--column", "q", "--node-column", "q"], None),
        (["t.parquet", "--nodes", "a"], "which of its 2 columns holds the keys? Choose"),
        (["t.parquet", "--nodes", "a", "--column", "x"], "there are 'other', 'id'"),
        (["t.arrow", "--nodes", "a", "--column", "x"], "there are 'other', 'id'"),
        (["t.parquet", "--nodes", "a", "--column", "id", "--key-type", "int"], "types of its own"),
        (["float.parquet", "--nodes", "a", "--column", "id"], "float64 has no defined key bytes"),
        (
            ["float.arrow", "--nodes", "a", "--column", "id"],
            "column 'id': an Arrow column of float",
        ),
    ],
)
def test_refusals(run: Run, refused: Refused, args: list[str], words: str | None) -> None:
    Path("there.csv").write_text("p,q\n1,2\n")
    Path("odd.xlsx").touch()
    Path("r.toml").write_text('[[node]]\nname = "a"\n')
    Path("folder.csv").mkdir()
    for suffix in ("parquet", "arrow"):
        write_column(f"t.{suffix}", ["a", "b"])
        write_column(f"float.{suffix}", [1.5])
    if words is None:
        assert "two columns 'q'" in refused("assign", *args, "-o", "o.csv")
        assert run("assign", *args).exit_code == 0  # no output, no clash
    else:
        assert words in refused("assign", *args, input=b"k\n")


@pytest.mark.parametrize(
    ("ring", "words"),
    [
        ("[[node]\n", "line 1"),
        ('[[node]]\nname = "a"\nwieght = 2\n', "[[node]] number 1 has an unknown field 'wieght'"),
        ('[[node]]\nname = "a"\n[[node]]\nweight = 2\n', "[[node]] number 2 has no name"),
        ('[[node]]\nname = "a"\nweight = "x"\n', "weight of node 'a'"),
        ('[ring]\nvnodes = 0\n[[node]]\nname = "a"\n', "vnodes=0"),
        ("", "names no node"),
        ("RLRG", "cut short"),
    ],
)
def test_bad_ring_files_are_named(refused: Refused, ring: str, words: str) -> None:
    Path("bad.toml").write_text(ring)
    told = refused("assign", "-", "--ring", "bad.toml", input=b"k\n")
    assert "bad.toml: " in told
    assert words in told


@pytest.mark.parametrize("origin", ["parquet", "arrow"])
@pytest.mark.parametrize("target", ["csv", "parquet", "arrow"])
def test_a_null_names_its_row(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, origin: str, target: str
) -> None:
    """In the whole file, not in the piece that was being read."""
    monkeypatch.setattr(sources, "BATCH_KEYS", 100)
    keys: list[str | None] = [f"k{i}" for i in range(1000)]
    keys[776] = None
    write_column(f"k.{origin}", keys)
    write_column(f"d.{origin}", pa.array(keys).dictionary_encode())
    for file in (f"k.{origin}", f"d.{origin}"):
        told = refused("assign", file, "--column", "id", "--nodes", NODES, "-o", f"o.{target}")
        assert f"{file}: column 'id', row 777 is null" in told


def test_a_null_in_a_dictionary_names_its_row(refused: Refused) -> None:
    array = pa.DictionaryArray.from_arrays(pa.array([0, 0, 1]), pa.array(["a", None]))
    write_column("d.arrow", array)
    told = refused("assign", "d.arrow", "--column", "id", "--nodes", NODES, "-o", "o.csv")
    assert "row 3 is null" in told


@pytest.mark.parametrize("arrow", [True, False])
@pytest.mark.parametrize(
    ("key_type", "cell", "words"),
    [
        ("int", "12x", "line 4 is '12x', which is not an integer"),
        ("int", "0x1F", "line 4 is '0x1F', which is not an integer"),
        ("int", " 5", "which is not an integer"),
        ("int", "+5", "which is not an integer"),
        ("int", "1_0", "which is not an integer"),
        ("int", "٣", "which is not an integer"),
        ("int", "\udcff", "which is not an integer"),
        ("int", "", "line 4 is '', which is not an integer"),
        ("int", str(2**63), "line 4 is outside"),
        ("int", "9" * 5000, "line 4 is outside"),
        ("uint", "-1", "line 4 is outside 0 ..."),
        ("uint", str(2**64), "line 4 is outside"),
    ],
)
def test_what_is_no_integer_names_its_line(
    refused: Refused,
    without: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    key_type: str,
    cell: str,
    words: str,
    arrow: bool,
) -> None:
    monkeypatch.setattr(sources, "BLOCK_BYTES", 4)  # the line stands in a later block
    if not arrow:
        without("pyarrow")
    text = f"1\n2\n3\n{cell}\n5\n".encode(errors="surrogateescape")
    told = refused(
        "assign", "-", "--key-type", key_type, "--nodes", NODES, "-o", "o.csv", input=text
    )
    assert words in told


def test_what_is_no_integer_in_csv_names_its_row(refused: Refused) -> None:
    write_column("k.csv", ["1", "2", "three"])
    args = ["assign", "k.csv", "--column", "id", "--key-type", "int", "--nodes", NODES]
    assert "k.csv: column 'id', row 3 is 'three'" in refused(*args, "-o", "o.csv")


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("k.parquet", b"this is no parquet file", "k.parquet: "),
        ("k.parquet", b"", "k.parquet: "),
        ("k.arrow", b"this is no arrow file at all", "k.arrow: "),
        ("k.arrow", b"ARROW1 but then nothing of the kind", "k.arrow: "),
        ("k.arrow", b"", "k.arrow: the file is empty"),
        ("k.csv", b"", "k.csv: the file is empty"),
        ("k.csv", b"\n\n", "k.csv: the file is empty"),
        ("k.csv", b"id,x\na,1\nb\n", "k.csv: CSV parse error"),
        ("k.csv", b"id,\xff\na,1\n", "k.csv: the header cannot be read"),
        ("k.csv", b"id,id\na,1\n", "2 columns are called 'id'"),
    ],
)
def test_damaged_files(refused: Refused, name: str, data: bytes, words: str) -> None:
    Path(name).write_bytes(data)
    assert words in refused("assign", name, "--column", "id", "--nodes", NODES, "-o", "o.csv")


def test_a_file_damaged_further_on(refused: Refused) -> None:
    for suffix in ("parquet", "arrow"):
        path = Path(f"k.{suffix}")
        write_column(str(path), [f"key number {i}" for i in range(5000)])
        data = bytearray(path.read_bytes())
        if suffix == "parquet":
            middle = len(data) // 2
            data[middle : middle + 10_000] = bytes(10_000)
        else:
            del data[3000:]
        path.write_bytes(data)
        told = refused("assign", path.name, "--column", "id", "--nodes", NODES, "-o", "o.csv")
        assert f"{path.name}: " in told


def test_a_line_that_never_ends(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "BLOCK_BYTES", 16)
    monkeypatch.setattr(sources, "LINE_BYTES_MAX", 64)
    Path("k.txt").write_bytes(b"ok\n" + b"x" * 100)
    assert "k.txt: a line is longer" in refused("assign", "k.txt", "--nodes", "a", "-o", "o.csv")


@pytest.mark.skipif(os.name == "nt", reason="directories are not read-only there")
def test_a_directory_that_cannot_be_written(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> int:  # root may write anywhere
        raise PermissionError(13, "Permission denied", "some temporary name")

    monkeypatch.setattr(sinks.os, "open", refuse)
    told = refused("assign", "-", "--nodes", "a", "-o", "o.csv", input=b"k\n")
    assert "o.csv: Permission denied" in told


@pytest.mark.parametrize("target", ["csv", "parquet", "arrow"])
def test_a_full_disk_leaves_what_was_there(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    Path(f"o.{target}").write_text("precious")
    monkeypatch.setattr(sinks.os, "fsync", fail)
    args = ["assign", "-", "--nodes", "a", "-o", f"o.{target}", "--force"]
    assert f"o.{target}: No space left" in refused(*args, input=b"k\n")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["k.csv"], "reading csv files"),
        (["k.parquet"], "reading parquet files"),
        (["k.arrow"], "reading arrow files"),
        (["-", "-o", "o.parquet"], "writing parquet files"),
        (["-", "-o", "o.arrow"], "writing arrow files"),
    ],
)
def test_a_missing_extra_is_named(
    refused: Refused, without: Callable[[str], None], args: list[str], words: str
) -> None:
    without("pyarrow")
    if args[0] != "-":
        Path(args[0]).touch()
    told = refused("assign", *args, "--nodes", "a", input=b"k\n")
    assert f"{words} needs pyarrow" in told
    assert 'pip install "ringleader[arrow]"' in told


# --- as a process -----------------------------------------------------------------------------

Start = Callable[..., "subprocess.Popen[bytes]"]


def test_a_pipe_in_and_a_pipe_out(start: Start) -> None:
    process = start("-m", "ringleader", "assign", "-", "--nodes", NODES, "-o", "-")
    out, err = process.communicate(b"".join(b"%d\n" % i for i in range(1000)))
    assert process.returncode == 0
    assert rows(out)[1:] == [[str(i), RING[str(i)]] for i in range(1000)]
    assert b"1,000 keys placed" in err
    assert b"\x1b" not in err


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
def test_a_reader_that_had_enough(start: Start, tmp_path: Path) -> None:
    (tmp_path / "k.txt").write_bytes(b"".join(b"key %d\n" % i for i in range(500_000)))
    process = start("-m", "ringleader", "assign", "k.txt", "--nodes", NODES, "-o", "-")
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == b"key,node\n"
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(60) == 141


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("target", ["csv", "parquet", "arrow"])
def test_an_interrupt_leaves_nothing_half_done(start: Start, tmp_path: Path, target: str) -> None:
    import signal
    import time

    (tmp_path / f"o.{target}").write_text("precious")
    args = ["assign", "-", "--nodes", NODES, "-o", f"o.{target}", "--force"]
    process = start("-m", "ringleader", *args)
    assert process.stdin is not None
    process.stdin.write(b"".join(b"key %d\n" % i for i in range(1_000_000)))
    process.stdin.flush()
    deadline = time.monotonic() + 30
    while len(os.listdir(tmp_path)) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(os.listdir(tmp_path)) == 2  # the partial file is there
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == b"Interrupted.\n"
    assert os.listdir(tmp_path) == [f"o.{target}"]
    assert (tmp_path / f"o.{target}").read_text() == "precious"


PEAK = """
import sys
from pathlib import Path
from ringleader.cli import main
try:
    main()
except SystemExit as done:
    assert done.code in (0, None), done.code
# Not ru_maxrss, which begins with what the parent had when it forked.
status = Path("/proc/self/status").read_text().splitlines()
print(next(line.split()[1] for line in status if line.startswith("VmHWM:")), file=sys.stderr)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("origin", ["txt", "csv", "parquet"])
def test_memory_does_not_grow_with_the_file(start: Start, tmp_path: Path, origin: str) -> None:
    """100 MB more of keys, and less than that more memory, for whatever is read ahead."""
    peaks = []
    # pyarrow reads CSV ahead up to a bound that one million keys do not reach: begin above it.
    counts = (4_000_000, 8_000_000) if origin == "csv" else (1_000_000, 4_000_000)
    for number, count in enumerate(counts):
        path = tmp_path / f"in-{number}.{origin}"
        keys = pa.array(np.arange(count)).cast(pa.string())
        keys = pa.compute.binary_join_element_wise("a key of some length", keys, "end", "-")
        table = pa.table({"id": keys})
        if origin == "txt":
            lines = pa.compute.binary_join_element_wise(keys, "", "\n").cast(pa.large_binary())
            path.write_bytes(sinks.cell_bytes(lines))
        elif origin == "csv":
            pyarrow.csv.write_csv(table, path)
        else:
            pq.write_table(table, path, row_group_size=count, use_dictionary=False)
        del keys, table
        process = start("-c", PEAK, "assign", path.name, "--nodes", NODES, "-o", f"{number}.csv")
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        peaks.append(int(err.split()[-1]) * 1024)
        path.unlink()
        (tmp_path / f"{number}.csv").unlink()
    assert peaks[1] - peaks[0] < 70e6, peaks
