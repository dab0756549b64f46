import signal
import threading

import pytest

from minialex.train import resume, train
from minialex.train.signals import SIGNALS
from minialex.weights import checkpoint
from tests.small_runs import Listener, checkpoints, kill, small

pytestmark = pytest.mark.usefixtures("no_curves", "terminal")


class TestStopping:
    @pytest.mark.parametrize(
        ("number", "status"),
        [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    )
    def test_a_signal_ends_the_batch_and_saves(self, images, tmp_path, number, status):
        before = [signal.getsignal(s) for s in SIGNALS]
        listener = Listener(("batch", 3), kill(number))
        outcome = train(small(images, out=str(tmp_path / "run")), listener)
        assert (outcome.signal, outcome.exit_status) == (number, status)
        assert (outcome.epochs, outcome.step, outcome.best_checkpoint) == (0, 3, None)
        position = checkpoint.load(outcome.checkpoint).manifest["position"]
        assert position == {"epoch": 0, "batch": 3, "step": 3}
        assert [signal.getsignal(s) for s in SIGNALS] == before
        assert listener.of("saved") == [(outcome.checkpoint, False)]

    def test_a_run_under_nohup_goes_on_when_its_terminal_closes(self, images, tmp_path):
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            listener = Listener(("batch", 3), kill(signal.SIGHUP))
            outcome = train(small(images, out=str(tmp_path / "run")), listener)
            assert (outcome.signal, outcome.finished) == (None, True)
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        finally:
            signal.signal(signal.SIGHUP, before)

    @pytest.mark.parametrize("first", SIGNALS)
    def test_a_closing_terminal_may_send_its_signal_again(self, images, tmp_path, first):
        listener = Listener(("batch", 3), kill(first, signal.SIGHUP, signal.SIGHUP))
        outcome = train(small(images, out=str(tmp_path / "run")), listener)
        assert (outcome.signal, outcome.step) == (first, 3)
        assert outcome.checkpoint.exists()

    def test_during_validation_too(self, images, tmp_path):
        listener = Listener(("validating", 1), kill(signal.SIGINT))
        outcome = train(small(images, out=str(tmp_path / "run")), listener)
        position = checkpoint.load(outcome.checkpoint).manifest["position"]
        assert position == {"epoch": 0, "batch": 5, "step": 5}
        assert listener.of("validating") == [(5, 6)]

    def test_a_signal_after_the_last_epoch_is_too_late(self, images, tmp_path):
        listener = Listener(("epoch_ended", 2), kill(signal.SIGINT))
        outcome = train(small(images, out=str(tmp_path / "run")), listener)
        assert (outcome.signal, outcome.exit_status, outcome.epochs) == (None, 0, 2)

    @pytest.mark.parametrize(
        ("second", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
    )
    def test_a_second_signal_acts_at_once_and_harms_nothing(self, images, tmp_path, second, raised):
        out = tmp_path / "run"
        saved = []
        do = kill(signal.SIGINT, second)
        listener = Listener(("batch", 7), lambda: (saved.append(checkpoints(out)), do()))
        before = [signal.getsignal(s) for s in SIGNALS]
        with pytest.raises(raised):
            train(small(images, out=str(out)), listener)
        assert saved == [checkpoints(out)]
        assert [signal.getsignal(s) for s in SIGNALS] == before
        assert resume(out).epochs == 2

    def test_in_another_thread_signals_are_left_alone(self, images, tmp_path):
        heard = []
        before = signal.getsignal(signal.SIGINT)
        listener = Listener(("batch", 2), lambda: heard.append(signal.getsignal(signal.SIGINT)))
        settings = small(images, out=str(tmp_path / "run"), epochs=1)
        thread = threading.Thread(target=train, args=(settings, listener))
        thread.start()
        thread.join()
        assert heard == [before]
        assert (tmp_path / "run" / "last.safetensors").exists()
