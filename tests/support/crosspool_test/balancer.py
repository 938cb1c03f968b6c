"""A TCP balancer: one port in front of several, that takes the next one that lets it connect."""
import asyncio
import itertools
import threading


class Balancer:
    PIECE = 1 << 16

    def __init__(self, port, targets, address="127.0.0.1"):
        self.address, self.port = address, port
        self.targets = itertools.cycle(targets)
        self.target_count = len(targets)
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.is_listening = threading.Event()

    def start(self):
        self.thread.start()
        assert self.is_listening.wait(10), "the balancer does not listen"

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)

    def _run(self):
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(
            asyncio.start_server(self._serve, self.address, self.port))
        self.is_listening.set()
        self.loop.run_forever()

    async def _connect(self):
        for _ in range(self.target_count):
            try:
                return await asyncio.open_connection(self.address, next(self.targets))
            except OSError:
                continue
        return None, None

    async def _serve(self, reader, writer):
        target_reader, target_writer = await self._connect()
        if target_writer is None:
            writer.close()
            return
        await asyncio.gather(self._pass(reader, target_writer), self._pass(target_reader, writer))

    async def _pass(self, reader, writer):
        try:
            while data := await reader.read(self.PIECE):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()
