"""The first signal ends a run gently; before there is anything to judge it ends it at once."""

from __future__ import annotations

import signal
import threading

import pytest

from capsize.interrupts import Interrupted, interruptible


def test_a_signal_before_the_load_raises_and_afterwards_only_sets() -> None:
    with interruptible() as interruption:
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGTERM)
        assert interruption.by == "SIGTERM"
    with interruptible() as interruption:
        interruption.gentle = True
        signal.raise_signal(signal.SIGINT)
        assert interruption.wait(5)
        assert interruption.by == "SIGINT"


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interruptible():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_main_thread_nothing_is_caught() -> None:
    seen: list[object] = []

    def inside() -> None:
        with interruptible():
            seen.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert seen == [before]
