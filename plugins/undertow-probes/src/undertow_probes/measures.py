"""What each recorded number is, in one line, by its name; shown by `undertow list probes NAME`. Imports no torch.

``<what>`` is the part of a name that varies; the docstring of each probe's class says more.
"""

from collections.abc import Mapping

_OF_A_CURVE = {
    "half_life": "First lag, in steps, at which 1/2 of the value at lag 1 is left, interpolated on the log",
    "half_life_censored": "1 if more is left everywhere: half_life is the longest lag then, read `> that`; else 0",
    "tenth_life": "The same for 1/10",
    "tenth_life_censored": "1 if more is left everywhere; else 0",
    "reach": "The same for 1/1000",
    "reach_censored": "1 if more is left everywhere; else 0",
    "tail_rate": "Slope of the line through the lags from a quarter of the longest on, log10 per step",
    "tail_r2": "R² of that line: 1 if the tail decays at one rate",
    "monotone": "1 if the curve nowhere rises by more than 0.05; 0: one number does not describe it",
}

GRADIENT_PROFILE: Mapping[str, str] = {
    "gradient/<what>/by_lag": "log10 of the geometric mean over examples of gradient at a lag / gradient at lag 1. "
    "<what> is `input`, by which cells can be compared, or a state part, whose gradient depends on its coordinates",
    "gradient/<what>/by_lag/spread": "Standard deviation over examples of that log10",
    **{f"gradient/<what>/{key}": text for key, text in _OF_A_CURVE.items()},
    "gradient/<what>/level": "log10 of the geometric mean over examples of the gradient at lag 1",
    "gradient/<what>/at_cue": "Mean over examples and cues of log10 of gradient at the cue / gradient at lag 1",
    "gradient/<what>/zero_share": "Share of examples whose gradient is exactly 0, at the lag where it is largest",
    "gradient/<what>/nonfinite": "How many norms are not finite, over all lags and examples",
}

JACOBIAN: Mapping[str, str] = {
    "jacobian/<what>/by_lag": "log10 of the geometric mean over examples of the Frobenius norm of the last state's "
    "Jacobian by that at a lag. <what> is `joint` (all parts), a state part, or sigma_max, the largest singular value",
    **{f"jacobian/<what>/{key}": text for key, text in _OF_A_CURVE.items()},
    "jacobian/<what>/standard_error": "Standard error of the curve from its random vectors, in log10, at the worst lag",
}

LYAPUNOV: Mapping[str, str] = {
    "lyapunov/<i>": "The i-th largest finite-time exponent, nats per step; below 0 the network forgets",
    "lyapunov/<i>/by_time": "The same from the steps so far, by time step",
}

SATURATION: Mapping[str, str] = {
    "saturation/<gate>": "Share of activations at a limit: sigmoid outside 0.05 to 0.95, |tanh| above 0.95, relu at 0, "
    "exp and softplus where their derivative is below 0.05",
    "saturation/<gate>/derivative": "Mean of the activation's derivative",
    "saturation/<gate>/derivative_rms": "Root mean square of the activation's derivative, which sets the rate of decay",
    "saturation/<gate>/by_time": "The share, by time step",
}

TIMESCALE: Mapping[str, str] = {
    "timescale/gate": "Steps until 1/e of the state is left, from the geometric mean of the share kept at a step",
    "timescale/gate/layer<l>": "The same of one layer",
    "timescale/gate/layer<l>/backward": "The same of its cell that runs backwards",
    "timescale/gate/arithmetic": "The same from the arithmetic mean, which a few open gates make long",
    "timescale/gate/longest": "That of the unit that keeps longest, from its own geometric mean",
    "timescale/gate/median": "The median over the units of that of each",
    "timescale/gradient": "Steps after lag 1 until 1/e of the gradient by the input is left; absent if never",
    "timescale/cue": "Mean lag of the task's cues, in steps",
}

MEMORY: Mapping[str, str] = {
    "memory/by_lag": "Rise of the mean loss at the last supervised step when the input at a lag is hidden",
    "memory/loss": "That loss with the whole input",
    "memory/at_cue": "Its rise when all cue steps of each example are hidden at once",
    "memory/reach": "The largest lag where hiding raises the loss by 1/100 of the largest loss of all lags",
}

WEIGHTS: Mapping[str, str] = {
    "weights/recurrent/spectral_radius": "Largest |eigenvalue| of the Jacobian of a step, mean over the trajectory",
    "weights/recurrent/norm": "Largest singular value of that Jacobian, mean over the trajectory",
    "weights/recurrent/non_normality": "|AAᵀ - AᵀA| / |A|² of that Jacobian: 0 for orthogonal eigenvectors, at most √2",
    "weights/matrix/spectral_radius": "Largest |eigenvalue| of the matrix that the cell names as its recurrent one",
    "weights/matrix/norm": "Largest singular value of that matrix",
    "weights/matrix/non_normality": "|UUᵀ - UᵀU| / |U|² of that matrix",
    "weights/<matrix>/<key>/layer<l>": "The same of one layer; without `layer` it is the largest of them",
    "weights/<matrix>/<key>/layer<l>/backward": "The same of its cell that runs backwards",
    "weights/norm/<parameter>": "L2 norm of a parameter",
    "weights/gradient/<parameter>": "L2 norm of the gradient of the mean loss by a parameter",
    "weights/gradient": "The same over all parameters, which clipping by norm limits",
}

COST: Mapping[str, str] = {
    "cost/parameters": "Trained numbers of the whole network",
    "cost/cell_parameters": "Trained numbers of the cells alone",
    "cost/state": "Numbers passed from one step to the next, one example, all layers",
    "cost/flops": "Forward, one example, one time step, matrix products of cells and blocks; 2 for a multiply-add",
    "cost/activation_bytes": "Kept for the backward pass, one example, the whole sequence",
    "cost/peak_bytes": "The most memory of the process so far: of the GPU's allocator, or the resident set",
    "cost/steps_per_second": "Training steps a second, without validation and probes; in a pack, of all its replicates",
    "cost/sequence_steps_per_second": "Time steps of all examples in them, a second",
}
