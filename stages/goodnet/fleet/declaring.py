"""A worker says what it has, so that tasks that need all of it are not put together."""

from distributed.diagnostics.plugin import WorkerPlugin

from goodnet.fleet.cluster import CORES, GIGABYTES


class Declaring(WorkerPlugin):
    """A plugin of each worker, also of those that come later."""

    name = "goodnet declaring"

    async def setup(self, worker):
        import psutil

        memory = worker.memory_manager.memory_limit or psutil.virtual_memory().total
        await worker.set_resources(**{CORES: worker.state.nthreads, GIGABYTES: memory / 1e9})
