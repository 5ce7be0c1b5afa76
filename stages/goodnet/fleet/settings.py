"""All settings of a grid, each on some worker, and each in the end an experiment of the project."""

import sys
from collections import Counter
from dataclasses import dataclass, field

from goodnet import telling
from goodnet.errors import InputError
from goodnet.fleet import grid, project, setting, task
from goodnet.fleet.cluster import Job
from goodnet.process import commands

DONE, BEFORE, FAILED = "done", "done before", "failed"


@dataclass
class Row:
    """What came of one setting.

    Parameters
    ----------
    name : str
        Of its experiment.
    changes : list of str
    outcome : str
        DONE, BEFORE or FAILED.
    stages : dict
        {stage: one of setting.HOW}; of one that failed those that ended before.
    """

    name: str
    changes: list
    outcome: str | None = None
    stages: dict = field(default_factory=dict)
    seconds: float | None = None
    error: str | None = None

    def counts(self):
        return Counter(self.stages.values())


def rows_of(repo, params, name, settings):
    """Return a Row for each setting, named as `dvc exp run --queue --name` names them.

    An experiment of the same name with the same parameters is done before; one with others is in the way.
    """
    there, rows = project.experiments(repo), []
    for number, changes in enumerate(settings, 1):
        row = Row(f"{name}-{number}" if len(settings) > 1 else name, changes)
        wanted = grid.params_of(params, changes)
        if row.name in there:
            if project.params_in(repo, there[row.name]) != wanted:
                raise InputError(
                    f"experiment {row.name}: is there already, with other parameters; "
                    f"dvc exp remove {row.name}, or give the grid another name"
                )
            row.outcome = BEFORE
        rows.append(row)
    return rows


def reproduce(cluster, repo, rows, packed):
    """Reproduce all Rows that are not done, and put their experiments into the project."""
    pending = {row.name: row for row in rows if row.outcome is None}
    shared, heard = cluster.share(packed), set()

    def hear(event):
        told = event[1]
        if told["fleet"] == cluster.fleet and told["text"] not in heard:
            heard.add(told["text"])
            commands.say(told["text"], sys.stderr)

    cluster.client.subscribe_topic("goodnet", hear)
    jobs = (Job(name, task.setting, (shared, name, row.changes)) for name, row in pending.items())
    with telling.bar("settings", len(rows), "settings", done=len(rows) - len(pending)) as bar:

        def look(running):
            stages = cluster.ask("progress")
            words = ", ".join(f"{count} {word}" for word, count in sorted(stages.items()))
            failed = sum(row.outcome == FAILED for row in rows)
            bar.set_description(f"{running} sent, {failed} failed; stages: {words or 'none yet'}")

        for ended in cluster.run(jobs, look):
            row = pending[ended.job.name]
            told = ended.result or {"error": ended.error}
            row.stages, row.seconds = told.get("stages", {}), told.get("seconds")
            row.error, row.outcome = told.get("error"), FAILED if "error" in told else DONE
            if row.outcome == DONE:
                project.receive(repo, told["ref"], told["bundle"])
            else:
                commands.say(f"{row.name}: {row.error}", sys.stderr)
            bar.update()


def summary(rows):
    """Return in a sentence or two what came of all."""
    outcomes = Counter(row.outcome for row in rows)
    stages = sum((row.counts() for row in rows), Counter())
    words = ", ".join(f"{outcomes[word]} {word}" for word in (DONE, BEFORE, FAILED) if outcomes[word])
    of_stages = ", ".join(f"{stages[word]} {word}" for word in setting.HOW)
    return f"{len(rows)} settings: {words}. {stages.total()} stages: {of_stages}."
