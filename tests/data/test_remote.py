"""Remote shards: fetched once, checked, with patience; the cache; what is told and stored."""

import json
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import fsspec
import numpy as np
import pytest
from comparing import assert_identical, tensors
from conftest import SMALL, command, launch, run_here
from faulty_server import (
    Server,
    cut,
    error_500,
    hang,
    long,
    not_found,
    refuse,
    serving,
    short,
    stall,
    wrong,
)
from fsspec.implementations.local import LocalFileSystem
from fsspec.registry import _registry

from gantrain.data import cache as caching
from gantrain.data import prefetch, remote
from gantrain.data.decode import encode
from gantrain.data.open_dataset import open_set
from gantrain.data.prefetch import Prefetch, check_cache
from gantrain.data.remote import STALL_SECONDS, FetchFailed
from gantrain.data.request import DataRequest
from gantrain.data.sample_order import Order
from gantrain.data.shard_writer import PackedSample, write_shards
from gantrain.data.shards import DamagedSample, Field, Shards
from gantrain.data.synthetic import draw
from gantrain.data.urls import check_url
from gantrain.training.trainer import RunStopped, Trainer

SAMPLES, PER_SHARD = 48, 8
WANTED = DataRequest("quickstart", "label", "photo", {"label": 10}, (32, 32), None)
SECRET = "hush-hush"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six shards of eight drawn fronts, 32 x 32."""
    size = {"min_size": (32, 32), "max_size": (32, 32)}
    fields = {
        "label": Field(member="label", kind="label", channels=1, classes=10, **size),
        "photo": Field(member="photo", channels=3, **size),
    }
    samples = []
    for i in range(SAMPLES):
        label, photo, _ = draw(i, 32, 32, 0)
        files = {"label": ("png", encode(label, "png")), "photo": ("png", encode(photo, "png"))}
        samples.append(PackedSample(f"{i:03}", files))
    path = tmp_path_factory.mktemp("sets") / "set"
    write_shards(samples, path, fields, shard_samples=PER_SHARD)
    return path


@pytest.fixture
def server(folder: Path):
    with serving(folder) as one:
        yield one


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(remote, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(remote, "STALL_SECONDS", 1)
    monkeypatch.setenv("GANTRAIN_CACHE", str(tmp_path / "cache"))


def opened(url: str, cache_gib: float = 1) -> Shards:
    return open_set("train", url, DataRequest(**{**WANTED.__dict__, "cache_gib": cache_gib}))


def cached(tmp_path: Path) -> list[str]:
    return sorted(p.name for p in (tmp_path / "cache" / "shards").iterdir() if p.suffix != ".lock")


def same(shards: Shards, folder: Path) -> bool:
    local = Shards.open(folder)
    return all(
        shards.read(i, member) == local.read(i, member)
        for i in range(SAMPLES)
        for member in ("label", "photo")
    )


def shard_requests(server: Server) -> dict[str, int]:
    return {n: count for n, count in server.requests.items() if n.endswith(".tar")}


# -- where shards may lie --------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["{}", "{}/", "{}/s-{{000000..000005}}.tar"])
def test_a_set_behind_a_url_is_the_set(server: Server, folder: Path, form: str) -> None:
    shards = opened(form.format(server.url))
    assert shards.fingerprint == Shards.open(folder).fingerprint
    assert shards.place == server.url
    assert same(shards, folder)
    assert set(shard_requests(server).values()) == {1}
    assert server.requests["index.json"] == 1


def test_a_pattern_must_name_the_indexed_shards(server: Server) -> None:
    with pytest.raises(ValueError, match=r"names 3 shards, http://.*/index\.json lists 6"):
        opened(f"{server.url}/s-{{000000..000002}}.tar")


@pytest.mark.parametrize("scheme", ["file", "s3", "gs", "hf"])
def test_other_schemes_go_through_their_libraries(
    folder: Path, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if scheme != "file":
        stand_in = type("StandIn", (LocalFileSystem,), {"protocol": scheme})
        monkeypatch.setitem(_registry, scheme, stand_in)
    shards = opened(f"{scheme}://{folder}")
    assert same(shards, folder)
    assert f"{scheme}://{folder}/s-000001.tar, sample 9 (009)" == shards.where(9)


@pytest.mark.parametrize(("scheme", "extra"), [("s3", "s3"), ("gs", "gcs"), ("hf", "hf")])
def test_a_missing_library_is_named(
    scheme: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*arguments: object, **more: object) -> None:
        raise ImportError("Install it")

    monkeypatch.setattr(fsspec, "filesystem", missing)
    with pytest.raises(ValueError, match=rf"pip install 'gantrain\[{extra}\]'") as caught:
        opened(f"{scheme}://bucket/set")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"https://me:{SECRET}@host/set",
        f"https://me:{SECRET}/x@host/set",
        f"https://host/set?X-Amz-Signature={SECRET}",
        f"https://host/set/s-{{0..9}}.tar?token={SECRET}",
        f"https://host/set?token={SECRET}/s-{{0..9}}.tar",
        f"s3://key:{SECRET}@bucket/set",
        f"hf://user:{SECRET}@datasets/u/r",
        f"https://host/set#{SECRET}",
        f"pipe:curl -H {SECRET} https://host/x.tar",
        f"ftp://me:{SECRET}@host/set",
        f"me:{SECRET}://x",
        f"simplecache::s3://{SECRET}@x",
    ],
)
@pytest.mark.parametrize("key", ["data.train", "data.validation"])
def test_credentials_are_refused_and_never_repeated(
    url: str, key: str, capfd: pytest.CaptureFixture[str]
) -> None:
    from gantrain.cli.train_command import train_main

    others = "data.train=synthetic" if key == "data.validation" else "data.validation=null"
    if key == "data.validation":  # with drawn training data, others would not be looked at
        others = f"data.train={url}"
    status = train_main(["recipe=quickstart", *SMALL, f"{key}={url}", others, "run=x"])
    printed = "".join(capfd.readouterr())
    assert status == 2
    assert SECRET not in printed
    assert "allowed" in printed or "credentials" in printed or "fetch the shards" in printed
    written = [p for p in Path().rglob("*") if p.is_file() and SECRET in p.read_text("latin-1")]
    assert not written


def test_revisions_are_no_credentials() -> None:
    assert (
        check_url("hf://datasets/me/facades@main/train/") == "hf://datasets/me/facades@main/train"
    )


def test_a_password_comes_from_netrc(
    server: Server, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import base64

    server.password = "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()
    with pytest.raises(
        ValueError,
        match=r"tries: 1, the last: HTTP status 401\); the server wants credentials: ~/.netrc",
    ):
        opened(server.url)
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login me password {SECRET}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert same(opened(server.url), folder)


# -- an index from a server ------------------------------------------------------------------------


def test_no_index_is_one_line_at_once(server: Server) -> None:
    with pytest.raises(ValueError, match=r"no/index\.json cannot be fetched \(tries: 1") as caught:
        opened(f"{server.url}/no")
    assert "\n" not in str(caught.value)


def test_a_host_without_an_address_is_no_unknown_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "TRIES", 1)
    with pytest.raises(ValueError, match=r"the last: \w*(DNS|Connector)\w*Error\)"):
        opened("http://no-such-host.invalid/set")


def test_an_index_from_a_server_leads_nowhere_else(
    folder: Path, tmp_path: Path, server: Server
) -> None:
    import shutil

    copy = shutil.copytree(folder, tmp_path / "copy")
    index = json.loads((copy / "index.json").read_text())
    (copy / "index.json").write_text(json.dumps({**index, "base": "/etc"}))
    with serving(copy) as hostile:
        shards = opened(hostile.url)
        assert shards.place == hostile.url
        assert same(shards, folder)
        index["shards"][0]["name"] = "../s.tar"
        (copy / "index.json").write_text(json.dumps(index))
        with pytest.raises(
            ValueError, match=rf"{hostile.url}/index\.json: shards\.0\.name: found '\.\./s\.tar'"
        ):
            opened(hostile.url)
        (copy / "index.json").write_bytes(b"{")
        with pytest.raises(
            ValueError, match=rf"{hostile.url}/index\.json: Expecting property name"
        ):
            opened(hostile.url)
    assert not list((tmp_path / "cache" / "remote").glob(".*"))


# -- faults on the way -----------------------------------------------------------------------------

FAULTS = {
    "stall": (stall, "nothing came for 1 s"),
    "cut": (cut, "ClientPayloadError"),
    "500": (error_500, "HTTP status 500"),
    "short body": (short, r"\d+ of \d+ bytes"),
    "long body": (long, r"more than \d+ bytes"),
    "404": (not_found, "it is not there"),
    "refused": (refuse, "ServerDisconnectedError"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_that_passes_changes_nothing(server: Server, folder: Path, name: str) -> None:
    fault, _ = FAULTS[name]
    shards = opened(server.url)
    server.faults = {"s-000002.tar": [fault, fault]}
    assert same(shards, folder)
    # aiohttp itself asks again where a connection it kept open was closed.
    assert server.requests["s-000002.tar"] >= 3
    assert server.requests["s-000003.tar"] == 1


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_that_stays_stops_with_one_line(
    server: Server, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "TRIES", 3)
    monkeypatch.setattr(remote, "STALL_SECONDS", 0.3)
    fault, reason = FAULTS[name]
    shards = opened(server.url)
    server.faults = {"s-000002.tar": [fault] * 20}
    reason = reason.replace("1 s", "0.3 s")
    message = rf"{server.url}/s-000002\.tar cannot be fetched \(tries: 3, the last: {reason}\)"
    with pytest.raises(FetchFailed, match=message) as caught:
        shards.read(2 * PER_SHARD, "label")
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert cached(tmp_path) == []


def test_wrong_bytes_are_fetched_again_once(server: Server, folder: Path, tmp_path: Path) -> None:
    shards = opened(server.url)
    server.faults = {"s-000001.tar": [wrong]}
    assert same(shards, folder)
    assert server.requests["s-000001.tar"] == 2
    server.faults = {"s-000004.tar": [wrong] * 9}
    for path in (tmp_path / "cache" / "shards").glob("*-*"):
        path.unlink()
    again = Shards.open(shards.folder, 1)
    for other in (again, Shards.open(shards.folder, 1)):
        for i in range(4 * PER_SHARD, 5 * PER_SHARD):
            with pytest.raises(DamagedSample, match=rf"{server.url}/s-000004\.tar, sample {i}"):
                other.read(i, "photo")
    assert server.requests["s-000004.tar"] == 1 + 2
    assert again.read(0, "label") == Shards.open(folder).read(0, "label")


def test_a_full_disk_is_one_line(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    shards = opened(server.url)
    monkeypatch.setattr(remote, "_copy", full)
    with pytest.raises(FetchFailed, match=r"\(tries: 1, the last: No space left on device\)"):
        shards.read(0, "label")


# -- the cache -------------------------------------------------------------------------------------


def _read_all(shards: Shards, folder: Path, answer) -> None:
    answer.put(same(shards, folder))


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.exhaustive)])
def test_processes_share_a_cache_and_fetch_each_shard_once(
    server: Server, folder: Path, method: str
) -> None:
    server.delay_seconds = 0.05
    shards = opened(server.url)
    context = multiprocessing.get_context(method)
    answer = context.Queue()
    processes = [context.Process(target=_read_all, args=(shards, folder, answer)) for _ in range(3)]
    for process in processes:
        process.start()
    assert [answer.get(timeout=60) for _ in processes] == [True] * 3
    for process in processes:
        process.join()
    assert set(shard_requests(server).values()) == {1}
    assert len(shard_requests(server)) == 6


def test_threads_of_one_process_fetch_each_shard_once(server: Server, folder: Path) -> None:
    server.delay_seconds = 0.05
    results: list[bool] = []
    sets = [opened(server.url) for _ in range(4)]
    threads = [threading.Thread(target=lambda s=s: results.append(same(s, folder))) for s in sets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 4
    assert set(shard_requests(server).values()) == {1}


def test_the_cache_stays_in_its_bounds_and_the_oldest_go(
    server: Server, folder: Path, tmp_path: Path
) -> None:
    largest = max(shard.bytes for shard in Shards.open(folder).index.shards)
    shards = opened(server.url, 3.2 * largest / 2**30)
    local = Shards.open(folder)
    cache = tmp_path / "cache" / "shards"
    for shard in (0, 1, 2, 0, 3, 0, 4):
        i = shard * PER_SHARD
        assert shards.read(i, "photo") == local.read(i, "photo")
        os.close(shards.cache.open(shards.remote(shard)))  # a use, as by a process that opens it
        time.sleep(0.01)
        assert sum(p.stat().st_size for p in cache.iterdir()) <= 3.2 * largest
    assert set(shard_requests(server).values()) == {1}
    names = {shards.cache._place(shards.remote(s)).name: s for s in range(6)}
    assert {names[name.partition("-")[0]] for name in cached(tmp_path)} == {0, 3, 4}
    assert same(shards, folder)  # what was evicted comes again
    evicted = [d for d in shards._open.values() if not os.fstat(d).st_nlink]
    assert not evicted, "an open file keeps its space"


def test_a_shard_larger_than_the_cache_is_told_with_the_size(server: Server) -> None:
    shards = opened(server.url, 1e-6)
    with pytest.raises(FetchFailed, match=r"data\.cache_gib: found 1e-06.*=0\.001 holds it"):
        shards.read(0, "photo")


def test_a_cache_too_small_for_the_window_is_refused(server: Server) -> None:
    def order(shards: Shards) -> Order:
        return Order([PER_SHARD] * 6, 0)

    shards = opened(server.url, 1e-6)
    with pytest.raises(
        ValueError, match=r"data\.cache_gib: found 1e-06.*data\.cache_gib="
    ) as caught:
        check_cache([(shards, order(shards))], [0])
    works = float(str(caught.value).partition("cache_gib=")[2].partition(" ")[0])
    shards = opened(server.url, works)
    check_cache([(shards, order(shards))], [0])
    with pytest.raises(ValueError, match=r"data\.cache_gib"):  # what several streams need adds up
        check_cache([(shards, order(shards))] * 20, [0])


_FETCH = """
import sys
from pathlib import Path
from gantrain.data.shards import Shards
Shards.open(sys.argv[1], 1).read(0, "label")
"""


def test_a_killed_fetch_leaves_nothing_that_counts(
    server: Server, folder: Path, tmp_path: Path
) -> None:
    shards = opened(server.url, 0.01)
    server.faults = {"s-000000.tar": [stall]}
    process = subprocess.Popen([sys.executable, "-c", _FETCH, str(shards.folder)])
    for _ in range(300):
        if server.requests["s-000000.tar"]:
            break
        time.sleep(0.1)
    time.sleep(0.5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (left,) = cached(tmp_path)
    assert left.endswith(".partial")
    shards.read(PER_SHARD, "label")  # making room for another shard finds it
    assert not [name for name in cached(tmp_path) if name.endswith(".partial")]
    assert same(shards, folder)


def test_a_fetch_under_way_is_not_taken_for_a_leftover(server: Server, tmp_path: Path) -> None:
    shards = opened(server.url)
    server.faults = {"s-000000.tar": [stall]}
    thread = threading.Thread(target=shards.read, args=(0, "label"))
    thread.start()
    while not server.requests["s-000000.tar"]:
        time.sleep(0.01)
    other = opened(server.url)
    other.read(PER_SHARD, "label")
    assert [name for name in cached(tmp_path) if name.endswith(".partial")]
    assert not other.cache.prefetch(other.remote(0)), "somebody is at it"
    thread.join()
    assert server.requests["s-000000.tar"] == 2


# -- ahead of need ---------------------------------------------------------------------------------


def ahead_of(shards: Shards, **more: int) -> Prefetch:
    return Prefetch(shards, Order([PER_SHARD] * 6, 0), [0], 0, more.get("stop", 1000))


def test_shards_are_there_before_they_are_asked_for(server: Server, folder: Path) -> None:
    shards = opened(server.url)
    ahead = ahead_of(shards)
    for _ in range(300):
        if len(shard_requests(server)) == 6:
            break
        time.sleep(0.02)
    ahead.close()
    time.sleep(0.2)
    before = dict(server.requests)
    assert same(shards, folder)
    assert server.requests == before
    assert set(shard_requests(server).values()) == {1}


def test_only_what_two_windows_need_is_fetched_ahead(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gantrain.data.sample_order.WINDOW", 2)
    monkeypatch.setattr("gantrain.data.sample_order.MIXED", 1)
    monkeypatch.setattr(prefetch, "_TURN_SECONDS", 0.02)
    shards = opened(server.url)
    order = Order([PER_SHARD] * 6, 0)
    windows = [order.window(i * 2 * PER_SHARD)[0] for i in range(3)]
    ahead = Prefetch(shards, order, [0], 0, 1000)

    def fetched() -> set[int]:
        return {int(re.sub(r"\D", "", name)) for name in shard_requests(server)}

    time.sleep(1)
    assert fetched() == {*windows[0], *windows[1]}
    ahead.position = 2 * PER_SHARD + 1
    time.sleep(1)
    assert fetched() == set(range(6))
    ahead.close()


def test_prefetching_takes_nothing_that_another_run_has_just_used(
    server: Server, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest = max(shard.bytes for shard in Shards.open(folder).index.shards)
    shards = opened(server.url, 2.2 * largest / 2**30)
    for shard in (0, 1):
        shards.read(shard * PER_SHARD, "label")
    assert not shards.cache.prefetch(shards.remote(2))
    monkeypatch.setattr(caching, "IDLE_SECONDS", 0)
    assert shards.cache.prefetch(shards.remote(2))
    assert len(cached(tmp_path)) == 2


NO_WAIT_SECONDS = 0.7 * STALL_SECONDS  # a loaded machine needs some of it


def test_a_server_that_is_gone_delays_neither_the_run_nor_its_end(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "STALL_SECONDS", STALL_SECONDS)
    shards = opened(server.url)
    server.faults = {"*": [hang] * 100}
    before = time.monotonic()
    ahead = ahead_of(shards)
    time.sleep(0.2)
    ahead.close()
    assert time.monotonic() - before < NO_WAIT_SECONDS
    code = (
        "import sys, time; from gantrain.data.shards import Shards; "
        "from gantrain.data.sample_order import Order; from gantrain.data.prefetch import Prefetch; "
        f"s = Shards.open(sys.argv[1], 1); Prefetch(s, Order([{PER_SHARD}] * 6, 0), [0], 0, 99); "
        "time.sleep(1); print(time.time())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(shards.folder)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert time.time() - float(done.stdout) < NO_WAIT_SECONDS


# -- training --------------------------------------------------------------------------------------

RUN = (
    *SMALL,
    "batch_size=8",
    "length=64",
    "checkpoint.every=64",
    "evaluate.every=64",
    "evaluate.max_samples=9",
    "previews.every=1000",
)


def trained_on(place: object, name: str, *more: str) -> dict:
    run_here(*RUN, f"data.train={place}", f"data.validation={place}", f"run={name}", *more)
    return tensors(name, 64)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_training_from_a_url_gives_the_same_bits(
    server: Server, folder: Path, workers: int
) -> None:
    local = trained_on(folder, "local")
    away = trained_on(server.url, "away", f"data.workers={workers}")
    assert_identical(local, away)
    assert set(shard_requests(server).values()) == {1}
    run_here(*RUN, f"data.train={folder}", "data.validation=null", "run=away", "length=72")


@pytest.mark.slow
def test_two_sets_from_a_url_give_the_same_bits(server: Server, folder: Path) -> None:
    networks = "generator: {width: 4, blocks: 1}, discriminator: {width: 4, layers: 1}"
    words = [word for word in RUN if not word.startswith("method.")]
    words += [
        f"method={{name: cyclegan, identity: 0, {networks}}}",
        "data.unpaired=true",
        "data.partitions=2",
    ]
    words += ["data.validation=null", "evaluate.metrics=[histogram]", "evaluate.best_by=histogram"]
    for name, place in (("local", folder), ("away", server.url)):
        run_here(
            *words,
            f"data.train={place}",
            f"data.train_target={place}",
            f"run={name}",
            "data.workers=1",
        )
    assert_identical(tensors("local", 64), tensors("away", 64))
    assert set(shard_requests(server).values()) == {1}


@pytest.mark.exhaustive
def test_ranks_train_from_a_url_with_the_same_bits(server: Server, folder: Path) -> None:
    words = [*RUN, "data.validation=null"]
    launch(2, *words, f"data.train={folder}", "run=local")
    launch(2, *words, f"data.train={server.url}", "data.workers=1", "run=away")
    assert_identical(tensors("local", 64), tensors("away", 64))
    assert set(shard_requests(server).values()) == {1}
    assert server.requests["index.npz"] == 1


@pytest.mark.exhaustive
def test_partitions_give_the_same_batches_on_ranks(folder: Path) -> None:
    words = [*RUN, "precision=fp64", "data.validation=null", f"data.train={folder}"]
    words += ["data.partitions=4"]
    run_here(*words, "run=one")
    launch(2, *words, "run=two")
    from comparing import assert_close

    assert_close(tensors("one", 64), tensors("two", 64), 1e-9)


@pytest.mark.exhaustive
def test_a_node_fetches_only_its_partitions(server: Server, folder: Path, tmp_path: Path) -> None:
    """Two nodes with a disk each: one torchrun and one cache a node."""
    words = [*RUN, "data.validation=null", "data.partitions=2", "run=nodes"]
    words += [f"data.train={server.url}", "data.workers=1"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    rendezvous = ["--nnodes=2", "--nproc-per-node=1", "--master-addr=127.0.0.1"]
    nodes = [
        subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", *rendezvous, f"--node-rank={node}",
             f"--master-port={port}", *command(1, *words)[1:]],
            env={**os.environ, "GANTRAIN_CACHE": str(tmp_path / f"node{node}")},
        )
        for node in range(2)
    ]  # fmt: skip
    assert [node.wait(timeout=240) for node in nodes] == [0, 0]
    assert server.requests["index.npz"] == 2
    assert shard_requests(server) == {f"s-00000{i}.tar": 1 for i in range(6)}
    for node in range(2):
        kept = (tmp_path / f"node{node}" / "shards").glob("*-1")
        assert len(list(kept)) == 3
    launch(2, *words, f"data.train={folder}", "run=local")
    assert_identical(tensors("nodes", 64), tensors("local", 64))


@pytest.mark.exhaustive
@pytest.mark.parametrize(("workers", "patience"), [(0, 2), (1, 12)])
def test_a_stalled_server_does_not_delay_a_signal(
    server: Server, monkeypatch: pytest.MonkeyPatch, workers: int, patience: float
) -> None:
    """PyTorch gives a worker, which is ahead and waits for the server, five seconds to leave."""
    monkeypatch.setattr(remote, "TRIES", 1000)
    monkeypatch.setattr("gantrain.data.sample_order.WINDOW", 2)
    monkeypatch.setattr("gantrain.data.sample_order.MIXED", 1)
    monkeypatch.setattr(prefetch, "_TURN_SECONDS", 0.01)
    later = Order([PER_SHARD] * 6, 0).window(4 * PER_SHARD)[0]
    server.faults = {f"s-00000{shard}.tar": [stall] * 999 for shard in later}
    step, told = Trainer._step, []

    def stepped(trainer: Trainer, raw: object) -> None:
        step(trainer, raw)
        if trainer.images_seen == 24:
            while not any(server.requests[name] for name in server.faults):
                time.sleep(0.01)
            told.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGUSR1)

    monkeypatch.setattr(Trainer, "_step", stepped)
    words = [*RUN, "length=96", "data.validation=null", f"data.train={server.url}"]
    assert run_here(*words, f"data.workers={workers}", "run=x") == "unfinished"
    for child in multiprocessing.active_children():  # as at the process's end
        child.terminate()
        child.join()
    assert time.monotonic() - told[0] < patience


@pytest.mark.exhaustive
def test_a_fault_that_stays_stops_the_run(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "TRIES", 2)
    monkeypatch.setattr(prefetch, "_AFTER_FAILURE_SECONDS", 0.1)
    server.faults = {"s-000003.tar": [error_500] * 1000}
    for workers in (0, 2):
        message = r"^data: http://.*/s-000003\.tar cannot be fetched .*HTTP status 500\).*command$"
        with pytest.raises(RunStopped, match=message):
            trained_on(server.url, "x", f"data.workers={workers}")
        status = json.loads(Path("runs/x/status.json").read_text())
        assert status["state"] == "failed"
        assert "s-000003.tar cannot be fetched" in status["reason"]
    server.faults = {}
    assert_identical(trained_on(server.url, "x"), trained_on(folder, "local"))


def damaged(folder: Path, copy: Path) -> dict[int, str]:
    """5 % and more: a shard cut short, a flipped byte, an empty shard; by sample, its key."""
    import shutil

    shutil.copytree(folder, copy)
    arrays = np.load(copy / "index.npz")
    (copy / "s-000005.tar").write_bytes(b"")
    cut_at = int(arrays["label_offset"][35])
    os.truncate(copy / "s-000004.tar", cut_at)
    with (copy / "s-000000.tar").open("r+b") as file:
        file.seek(int(arrays["photo_offset"][3]) + 40)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 4]))
    return {i: f"{i:03}" for i in [3, *range(35, 48)]}


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, pytest.param(2, marks=pytest.mark.exhaustive)])
def test_exactly_the_damaged_samples_are_reported(folder: Path, tmp_path: Path, ranks: int) -> None:
    expected = damaged(folder, tmp_path / "copy")
    words = [*RUN, f"data.train={tmp_path / 'copy'}", "data.validation=null", "length=96"]
    printed = launch(ranks, *words, "data.max_bad_fraction=0.5", "run=x")
    report = printed.partition("damaged samples that were replaced by others: ")[2]
    assert report.startswith(f"{len(expected)}\n")
    assert {int(n) for n in re.findall(r"sample (\d+) \(", report)} == set(expected)
    with pytest.raises(RunStopped, match=r"of 48 samples are damaged, more than data.max_bad"):
        run_here(*words, "data.max_bad_fraction=0.05", "run=y")
