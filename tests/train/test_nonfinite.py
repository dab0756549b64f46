import numpy as np
import pytest

from minialex.optim import make_schedule
from minialex.train import NonFiniteLossError, Trainer, train
from minialex.train.factory import open_data
from tests.small_runs import Listener, checkpoints, small

pytestmark = pytest.mark.usefixtures("no_curves")


class TestNonFinite:
    def poisoned(self, images, tmp_path, at, layer, what="weight", value=np.inf):
        """Run with a number that is not finite put into a layer; return the error and files."""
        out = tmp_path / "run"
        out.mkdir()
        settings = small(images, out=str(out))
        trainer = Trainer(settings, open_data(settings), out)
        modules = dict(trainer.state.model.named_modules())
        before = []

        def poison():
            before.append(checkpoints(out))
            getattr(modules[layer], what).data.flat[0] = value

        with pytest.raises(NonFiniteLossError) as caught:
            trainer.run(Listener(at, poison))
        assert before == [checkpoints(out)]
        return caught.value

    @pytest.mark.parametrize("layer", ["features.0", "features.6", "classifier.4"])
    def test_names_the_first_layer_the_step_and_the_rate(self, images, tmp_path, layer):
        error = self.poisoned(images, tmp_path, ("batch", 7), layer)
        assert (error.layer, error.step) == (layer, 7)
        assert error.lr == 1e-4 * make_schedule("cosine", total=10, warmup=3)(6)
        assert f"layer {layer} is the first whose output is not finite" in str(error)
        assert "its weight is no longer finite" in str(error)
        assert "last.safetensors is from before" in str(error)
        assert "lower lr" in str(error)

    def test_at_validation(self, images, tmp_path):
        error = self.poisoned(images, tmp_path, ("batch", 5), "classifier.1", "bias", np.nan)
        assert (error.layer, error.step) == ("classifier.1", 5)
        assert "its bias is no longer finite" in str(error)
        assert "no checkpoint was written yet" in str(error)

    def test_never_saves_what_is_not_finite(self, images, tmp_path):
        # after validation, before the checkpoint: nothing but the saving looks at it
        error = self.poisoned(images, tmp_path, ("validating", 4), "features.8")
        assert (error.layer, error.step) == ("features.8", 10)

    def test_an_overflow_is_told_from_weights_that_are_not_finite(self, images, tmp_path):
        error = self.poisoned(images, tmp_path, ("batch", 6), "features.3", value=3e38)
        assert error.layer == "features.3"
        assert "its output overflowed" in str(error)

    def test_a_rate_that_is_far_too_high(self, images, tmp_path):
        settings = small(images, out=str(tmp_path / "run"), lr=1e30, warmup=0)
        with pytest.raises(NonFiniteLossError, match=r"learning rate 1e\+30"):
            train(settings)
        assert not (tmp_path / "run" / "last.safetensors").exists()
