"""Commands as processes of their own: exit codes, Ctrl-C, and the progress bar of a terminal."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.servers.celery import ROOT, Site
from tests.servers.provider import Handler, Provider, answer, refusal


@pytest.fixture
def shell(tmp_path: Path, provider: Provider) -> Site:
    """A migrated site without a broker."""
    site = Site(tmp_path, "", provider.base_url)
    site.migrate()
    return site


def write(site: Site, number: int) -> str:
    """A file of so many requests."""
    requests = (
        {"model": "m", "messages": [{"role": "user", "content": str(n)}]} for n in range(number)
    )
    path = site.directory / "requests.jsonl"
    path.write_text("\n".join(map(json.dumps, requests)))
    return str(path)


def test_the_exit_code_tells_success_failure_and_wrong_usage(
    shell: Site, provider: Provider
) -> None:
    file = write(shell, 1)
    provider.script(refusal(400))
    failed = shell.manage("llmcache_warm", file)
    assert failed.returncode == 1
    assert "line 1: BadRequest" in failed.stderr
    provider.script(answer())
    assert shell.manage("llmcache_warm", file).returncode == 0
    wrong = shell.manage("llmcache_warm", file, "--alias", "defualt")
    assert wrong.returncode == 2
    assert "Did you mean 'default'" in wrong.stderr
    assert shell.manage("llmcache_evict").returncode == 2
    assert shell.manage("llmcache_stats", "--by", "colour").returncode == 2


def test_what_warming_has_cached_is_exported_and_imported_through_pipes(shell: Site) -> None:
    shell.manage("llmcache_warm", write(shell, 3))
    exported = shell.manage("llmcache_export", "-")
    assert len(exported.stdout.splitlines()) == 4  # what is said goes to the other stream
    assert "Exported 3 entries." in exported.stderr
    shell.manage("llmcache_evict", "--all", "--no-input")
    imported = shell.manage("llmcache_import", "-", input=exported.stdout)
    assert imported.returncode == 0, imported.stderr
    assert "Stored 3 entries." in imported.stdout


def test_ctrl_c_ends_warming_cleanly_and_keeps_what_came(shell: Site, provider: Provider) -> None:
    reached = threading.Event()
    release = threading.Event()

    def wait(handler: Handler) -> None:
        reached.set()
        release.wait(30)
        answer()(handler)

    provider.script(answer(), wait)
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "django", "llmcache_warm", write(shell, 50)),
            "--concurrency=1",
        ],
        cwd=ROOT,
        env=shell.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that runs tests in the background has them ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert reached.wait(30)
    process.send_signal(signal.SIGINT)
    release.set()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Stopped. The answers that came so far are cached" in err
    assert "Traceback" not in err
    assert len(provider.requests) == 2
    assert shell.run('say(ask("0").cache.outcome)') == "hit"
    assert shell.run("say(Entry.objects.count())") == 2


def test_a_terminal_shows_a_progress_bar_and_a_pipe_does_not(shell: Site) -> None:
    shell.manage("llmcache_warm", write(shell, 5))
    piped = shell.manage("llmcache_export", str(shell.directory / "piped"))
    assert piped.stdout == "Exported 5 entries.\n"
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*(sys.executable, "-m", "django", "llmcache_export"), str(shell.directory / "shown")],
        cwd=ROOT,
        env=shell.environment,
        stdout=theirs,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 1024)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert process.wait(timeout=60) == 0
    assert b"of 5 entries" in shown and b"[#####" in shown
    assert shown.endswith(b"\x1b[KExported 5 entries.\r\n")
