"""Faults of image preparation."""

from functools import partial

from tests.cuda.zoo import routine_fault

fault = partial(routine_fault, "prepare")
crop_fault = partial(routine_fault, "prepare_crops", file="prepare.cu")

FAULTS = [
    fault("flip off by one", "mirrored ? W - 1 - i % W", "mirrored ? (W - i % W) % W"),
    fault(
        "hue before its turn",
        "order[k] = transforms[3 + k];",
        "order[k] = transforms[3 + (k ^ 1)];",
    ),
    fault("hue of green", "value == x.green ? 2.0f : 4.0f", "value == x.green ? 4.0f : 2.0f"),
    fault("hue turned back", "+ 6 * rotation;", "- 6 * rotation;"),
    fault(
        "grey weights swapped",
        "0.2989f * x.red + 0.587f * x.green",
        "0.587f * x.red + 0.2989f * x.green",
    ),
    fault(
        "mean before its turn",
        "if (before_contrast && order[k] == CONTRAST) return x;",
        "if (before_contrast) return x;",
    ),
    fault("mean after all turns", "if (before_contrast && order[k] == CONTRAST) return x;", ""),
    fault(
        "not cut off",
        "case BRIGHTNESS: return blend(x, 0, factor);",
        "case BRIGHTNESS: return {factor * x.red, factor * x.green, factor * x.blue};",
    ),
    fault(
        "left and top mixed up",
        "transforms[0] * IW + transforms[1]",
        "transforms[1] * IW + transforms[0]",
        "out-of-bounds",
    ),
    fault("rows of the window", "row(IW * 3)", "row((IW - 1) * 3)"),
    fault(
        "a part of the image missing from the mean",
        "sum += grey(image.pixel(i, true, 0));",
        "sum += i < 1024 ? grey(image.pixel(i, true, 0)) : 0.0f;",
    ),
    fault(
        "one pixel too many",
        "i < pixels; i += blockDim.x) {",
        "i <= pixels; i += blockDim.x) {",
        error="race",
    ),
    fault(
        "some threads stay away from the sum",
        "if (image.has_contrast()) {",
        "if (image.has_contrast() && threadIdx.x < pixels) {",
        error="divergent barrier",
    ),
    crop_fault("sums are cut off", "red = 1 << (WEIGHT_BITS - 1)", "red = 0"),
    crop_fault(
        "a pixel too far to the right", "weights[0] * 3;", "weights[0] * 3 + 3;", "out-of-bounds"
    ),
    crop_fault(
        "the last weight missing", "t <= taps && weights[t] != 0; ++t) {", "t < taps; ++t) {"
    ),
    crop_fault("rows and columns mixed up", "shapes[2 * n + 1]", "shapes[2 * n]", "out-of-bounds"),
    crop_fault("the first crop for all", "crops + starts[n]", "crops + starts[0]"),
]
