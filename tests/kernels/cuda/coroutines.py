"""Functions that pause in the middle: by greenlet, else by threads that hand over to one another.

The threads take three times as long, nearly all of it in the operating system.
"""

from __future__ import annotations

import threading

try:
    import greenlet
except ImportError:
    greenlet = None


class Stopped(BaseException):
    """Raised in a coroutine that is not wanted any more."""


if greenlet is not None:

    class Coroutine(greenlet.greenlet):
        """`run` as a coroutine."""

        def resume(self) -> None:
            """Run it up to its next pause or its end; raises what it raises."""
            self.switch()

        def pause(self) -> None:
            """Back to who resumed it."""
            self.parent.switch()

        def stop(self) -> None:
            self.throw(greenlet.GreenletExit)

else:

    class Coroutine:  # type: ignore[no-redef]
        """`run` as a coroutine, in a thread of its own."""

        def __init__(self) -> None:
            self.dead = False
            self._thread: threading.Thread | None = None
            self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
            self._error: BaseException | None = None
            self._stopped = False

        def run(self) -> None:
            raise NotImplementedError

        def resume(self) -> None:
            """Run it up to its next pause or its end; raises what it raises."""
            if self._thread is None:
                self._thread = threading.Thread(target=self._whole, daemon=True)
                self._thread.start()
            else:
                self._go.release()
            self._back.acquire()
            if self._error is not None:
                raise self._error

        def pause(self) -> None:
            """Back to who resumed it."""
            self._back.release()
            self._go.acquire()
            if self._stopped:
                raise Stopped

        def stop(self) -> None:
            if self._thread is None:
                self.dead = True
            elif not self.dead:
                self._stopped = True
                self.resume()

        def _whole(self) -> None:
            try:
                self.run()
            except Stopped:
                pass
            except BaseException as error:
                self._error = error
            self.dead = True
            self._back.release()
