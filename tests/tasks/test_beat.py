"""The example project's schedule: what Celery's beat reads of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.servers.site import ROOT, environment

CODE = """
import django, json
django.setup()
from celery.beat import Scheduler
from example_project import celery_app
celery_app.finalize()
celery_app.loader.import_default_modules()
scheduler = Scheduler(app=celery_app)
print(json.dumps([
    [entry.task, entry.task in celery_app.tasks, entry.is_due().next >= 0]
    for entry in scheduler.schedule.values() if entry.task.startswith("llmcache")
]))
"""


def test_beat_sweeps_and_rolls_up_by_tasks_that_exist(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=ROOT,
        env=environment(str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(json.loads(done.stdout)) == [
        ["llmcache.rollup_hours", True, True],
        ["llmcache.sweep_expired", True, True],
    ]
