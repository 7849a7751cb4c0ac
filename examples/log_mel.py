"""What stands around a speech run's ``encode`` where there is no TensorFlow: features before it,
and text after it. NumPy alone, to be read and rewritten in another language.

    frames = log_mel(waveform)             # samples from -1 to 1 at 16,000 Hz
    log_p = ...                            # encode, by LiteRT or ONNX
    text(log_p, symbols)                   # `symbols` of the run's schema.json
"""

import numpy as np

RATE, FRAME, WINDOW, HOP = 16_000, 512, 400, 160  # Hz, and samples
FLOOR = 1e-7


def log_mel(
    waveform: np.ndarray, mels: int = 40, low: float = 60.0, high: float = 7600.0
) -> np.ndarray:
    """``[samples]`` to ``[1, frames, mels]`` float32: the logarithm of the energy of each frame
    of 25 ms, every 10 ms, in triangular filters. `mels` is that of the run's config.json."""
    count = max(1, 1 + (len(waveform) - FRAME) // HOP)  # one frame at least
    waveform = np.pad(waveform, (0, max(0, FRAME - len(waveform))))
    places = HOP * np.arange(count)[:, np.newaxis] + np.arange(FRAME)
    side = (FRAME - WINDOW) // 2
    hann = np.pad(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW), side)
    power = np.abs(np.fft.rfft(waveform[places] * hann)) ** 2
    found = np.log(power @ filters(mels, low, high) + FLOOR)
    return found[np.newaxis].astype(np.float32)


def filters(mels: int, low: float, high: float) -> np.ndarray:
    """``[FRAME // 2 + 1, mels]``: triangles of unit area, their corners evenly spaced on Slaney's
    mel scale, which is linear up to 1,000 Hz and logarithmic above."""
    corners = hertz(np.linspace(mel(low), mel(high), mels + 2))
    left, middle, right = corners[:-2], corners[1:-1], corners[2:]
    bins = np.arange(FRAME // 2 + 1)[:, np.newaxis] * RATE / FRAME
    rising, falling = (bins - left) / (middle - left), (right - bins) / (right - middle)
    return np.maximum(0, np.minimum(rising, falling)) * 2 / (right - left)


STEP = 200 / 3  # Hz in a mel, below 1,000 Hz
TURN = np.log(6.4) / 27  # of the logarithm in a mel, above


def mel(frequency: float) -> float:
    linear = min(frequency, 1000.0) / STEP
    return linear + np.log(max(frequency, 1000.0) / 1000.0) / TURN


def hertz(mels: np.ndarray) -> np.ndarray:
    turn = 1000.0 / STEP
    return STEP * np.minimum(mels, turn) * np.exp(TURN * np.maximum(mels - turn, 0))


def text(log_p: np.ndarray, symbols: list[str]) -> str:
    """The text of the likeliest path of CTC, ``[1, steps, symbols + 1]``: repetitions out, then
    blanks, which are symbol 0."""
    path = log_p[0].argmax(axis=-1)
    kept = path[(path != 0) & (path != np.append(0, path[:-1]))]
    return "".join(symbols[number - 1] for number in kept).strip()
