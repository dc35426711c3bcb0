"""The cells of torchrecurrent: a line for each of the 41 that it exports. Imports neither torchrecurrent nor torch.

State parts hold what the next step needs, and the output: `h` is the output where the next step reads it, `y` the
output where it does not, `c` a memory, `v` a control signal, `x` the last input, `past` the states of the last steps,
side by side.
"""

from typing import NamedTuple

from undertow import Options
from undertow_torchrecurrent import options as of


class Line(NamedTuple):
    """One cell.

    Attributes:
        name: The cell's name after ``torchrecurrent/``.
        cell: torchrecurrent's class.
        state: Names of the state parts.
        options: The class of its options.
        paper: The source.
        summary: What the cell is, after "torchrecurrent's".
        equation: What the library computes with its defaults; W x and U h include the biases.
    """

    name: str
    cell: str
    state: tuple[str, ...]
    options: type[Options]
    paper: str
    summary: str
    equation: str


_H, _HC = ("h",), ("h", "c")
_MUT = "Jozefowicz, Zaremba & Sutskever 2015, PMLR 37:2342-2350"
_SGU = "Gao & Glowacka 2016, arXiv 1604.02910"
_BRC = "Vecoven, Ernst & Drion 2021, doi 10.1371/journal.pone.0252676"
_TYPED = "Balduzzi & Ghifary 2016, arXiv 1602.02218"
_MIRU = "doi 10.1016/j.neucom.2026.132847"
_ANTISYMMETRIC = "Chang, Chen, Haber & Chi 2019, arXiv 1902.09689"
_KEEP = "(1 - z) ∘ h + z ∘ n"

TABLE = (
    Line("antisymmetric-rnn", "AntisymmetricRNNCell", _H, of.Antisymmetric, _ANTISYMMETRIC,
         "antisymmetric network", "h' = h + ε tanh(W x + (U - Uᵀ - γ I) h)"),
    Line("gated-antisymmetric-rnn", "GatedAntisymmetricRNNCell", _H, of.GatedAntisymmetric, _ANTISYMMETRIC,
         "antisymmetric network with a gate that has the same matrix",
         "h' = h + ε z ∘ tanh(W x + M h),  z = σ(W x + M h),  M = U - Uᵀ - γ I"),
    Line("atr", "ATRCell", _H, of.Biases, "Zhang, Xiong, Su, Lin & Zhang 2018, arXiv 1810.12546",
         "unit with twin gates, of a sum and of a difference",
         "h' = σ(p + q) ∘ p + σ(p - q) ∘ h,  p = W x,  q = U h"),
    Line("brc", "BRCell", _H, of.Biases, _BRC, "bistable cell, each unit by its own state",
         "h' = c ∘ h + (1 - c) ∘ tanh(W x + (1 + tanh(W x + u ∘ h)) ∘ h),  c = σ(W x + v ∘ h)"),
    Line("nbrc", "NBRCell", _H, of.Biases, _BRC, "bistable cell, modulated by the other units",
         "h' = c ∘ h + (1 - c) ∘ tanh(W x + (1 + tanh(W x + U h)) ∘ h),  c = σ(W x + U h)"),
    Line("cfn", "CFNCell", _H, of.Biases, "Laurent & von Brecht 2016, arXiv 1612.06212",
         "network without chaos", "h' = σ(W x + U h) ∘ tanh(h) + σ(W x + U h) ∘ tanh(W x)"),
    Line("cornn", "coRNNCell", _HC, of.Cornn, "Rusch & Mishra 2021, arXiv 2010.00951",
         "coupled oscillators: h the position, c the velocity",
         "h' = h + dt c'\nc' = c + dt (tanh(W x + U h + V c) - γ h - ε c)"),
    Line("fastrnn", "FastRNNCell", _H, of.FastRnn, "Kusupati et al. 2018, arXiv 1901.02358",
         "network with two learned scalars", "h' = σ(α) tanh(W x + U h) + σ(β) h"),
    Line("fastgrnn", "FastGRNNCell", _H, of.FastGrnn, "Kusupati et al. 2018, arXiv 1901.02358",
         "gated network with the matrices of a plain one",
         "h' = (σ(ζ) (1 - z) + σ(ν)) ∘ tanh(W x + U h + b) + z ∘ h,  z = tanh(W x + U h + b')"),
    Line("indrnn", "IndRNNCell", _H, of.OneNonlinearity, "Li, Li, Cook, Zhu & Gao 2018, arXiv 1803.04831",
         "independent units; u has no bound", "h' = tanh(W x + u ∘ h)"),
    Line("intersection-rnn", "IntersectionRNNCell", ("y", "h"), of.Intersection,
         "Collins, Sohl-Dickstein & Sussillo 2017, arXiv 1611.09913",
         "intersection network: its output mixes in the input, which must be as wide as the state",
         "y = g ∘ x + (1 - g) ∘ relu(W x + U h),  g = σ(W x + U h)\nh' = z ∘ h + (1 - z) ∘ tanh(W x + U h)"),
    Line("janet", "JANETCell", _HC, of.Janet, "Van der Westhuizen & Lasenby 2018, arXiv 1804.04849",
         "LSTM with the forget gate alone; h and c are equal after every step",
         "h' = c'\nc' = σ(s) ∘ c + (1 - σ(s - β)) ∘ tanh(W x + U h),  s = W x + U h"),
    Line("lem", "LEMCell", _HC, of.Lem, "Rusch, Mishra, Erichson & Mahoney 2022, arXiv 2110.04744",
         "long expressive memory, with the old memory in place of the new one",
         "h' = (1 - d̄) ∘ h + d̄ ∘ tanh(W x + V c),  d̄ = dt σ(W x + U h)\n"
         "c' = (1 - d) ∘ c + d ∘ tanh(W x + U h),  d = dt σ(W x + U h)"),
    Line("lightru", "LightRUCell", _H, of.Biases, "Light Recurrent Unit 2024, Electronics 13(16):3204",
         "gated unit whose candidate does not read the state",
         f"h' = {_KEEP},  z = σ(W x + U h),  n = tanh(W x)"),
    Line("ligru", "LiGRUCell", _H, of.LiGru, "Ravanelli, Brakel, Omologo & Bengio 2018, arXiv 1803.10225",
         "GRU without a reset gate, rectified", "h' = z ∘ h + (1 - z) ∘ relu(W x + U h),  z = σ(W x + U h)"),
    Line("mclstm", "MCLSTMCell", ("y", "v", "c"), of.Mclstm, "Memory-controller LSTM, NIPS 2017 workshop",
         "LSTM whose gates read a control signal and not the output",
         "y = σ(W x + U v) ∘ tanh(c')\nv' = σ(W x + U v) ∘ tanh(c')\n"
         "c' = σ(W x + U v) ∘ c + σ(W x + U v) ∘ tanh(W x + U v)"),
    Line("mgu", "MGUCell", _H, of.GateAndCandidate, "Zhou, Wu, Zhang & Zhou 2016, arXiv 1603.09420",
         "minimal gated unit", f"h' = {_KEEP},  z = σ(W x + U h),  n = tanh(W x + U (z ∘ h))"),
    Line("minimalrnn", "MinimalRNNCell", _H, of.GateAndCandidate, "Chen 2017, arXiv 1711.06788",
         "gate between the state and a map of the input",
         "h' = u ∘ h + (1 - u) ∘ n,  u = σ(U h + V n),  n = tanh(W x)"),
    Line("miru1", "MiRU1Cell", _H, of.Miru1, _MIRU, "unit with a reset gate and a fixed update",
         "h' = λ h + (1 - λ) tanh(W x + U (r ∘ h)),  r = σ(W x + U h)"),
    Line("miru2", "MiRU2Cell", _H, of.Miru2, _MIRU, "unit with a fixed reset and a fixed update",
         "h' = λ h + (1 - λ) tanh(W x + U (β h))"),
    Line("multiplicative-lstm", "MultiplicativeLSTMCell", _HC, of.Multiplicative,
         "Krause, Lu, Murray & Renals 2016, arXiv 1609.07959",
         "LSTM whose gates read the product of input and state",
         "h' = σ(o) ∘ tanh(c')\nc' = σ(f) ∘ c + σ(i) ∘ tanh(g),  (i, f, g, o) = W x + V m,  m = W x ∘ (U h)"),
    Line("mut1", "MUT1Cell", _H, of.Biases, _MUT, "first architecture found by mutation",
         f"h' = {_KEEP},  z = σ(W x),  n = tanh(U (r ∘ h) + tanh(W x)),  r = σ(W x + U h)"),
    Line("mut2", "MUT2Cell", _H, of.Biases, _MUT, "second architecture found by mutation",
         f"h' = {_KEEP},  z = σ(W x + U h),  n = tanh(W x + U (r ∘ h)),  r = σ(W x + U h)"),
    Line("mut3", "MUT3Cell", _H, of.Biases, _MUT, "third architecture found by mutation",
         f"h' = {_KEEP},  z = σ(W x + U tanh(h)),  n = tanh(W x + U (r ∘ h)),  r = σ(W x + U h)"),
    Line("nas", "NASCell", _HC, of.Biases, "Zoph & Le 2017, arXiv 1611.01578",
         "architecture found by a controller, of eight products",
         "h' = tanh(c' ∘ tanh(tanh(tanh(a₅) ∘ σ(a₆)) + σ(tanh(a₇) + σ(a₈)))),  a = W x + U h\n"
         "c' = tanh(tanh(σ(a₁) ∘ relu(a₂)) + c) ∘ tanh(σ(a₃) + relu(a₄))"),
    Line("original-lstm", "OriginalLSTMCell", _HC, of.Biases,
         "Hochreiter & Schmidhuber 1997, doi 10.1162/neco.1997.9.8.1735",
         "LSTM without a forget gate", "h' = σ(o) ∘ tanh(c')\nc' = c + σ(i) ∘ tanh(g),  (i, g, o) = W x + U h"),
    Line("peephole-lstm", "PeepholeLSTMCell", _HC, of.GateAndCandidate,
         "Gers, Schraudolph & Schmidhuber 2002, JMLR 3:115-143",
         "LSTM whose gates read the memory",
         "h' = σ(o + p ∘ c') ∘ tanh(c')\nc' = σ(f + q ∘ c) ∘ c + σ(i + r ∘ c) ∘ tanh(g),  (i, f, g, o) = W x + U h"),
    Line("ran", "RANCell", _HC, of.Biases, "Lee, Levy & Zettlemoyer 2017, arXiv 1705.07393",
         "additive memory of the inputs alone", "h' = tanh(c')\nc' = σ(W x + U h) ∘ (W x) + σ(W x + U h) ∘ c"),
    Line("reslstm", "ResLSTMCell", _HC, of.GateAndCandidate, "Kim, El-Khamy & Lee 2017, arXiv 1701.03360",
         "LSTM with peepholes and a shortcut from its input",
         "h' = σ(o + p ∘ c') ∘ (P tanh(c') + R x)\n"
         "c' = σ(f + q ∘ c) ∘ c + σ(i + r ∘ c) ∘ tanh(g),  (i, f, g, o) = W x + U h"),
    Line("scrn", "SCRNCell", _HC, of.Scrn, "Mikolov, Joulin, Chopra, Mathieu & Ranzato 2014, arXiv 1412.7753",
         "plain network with a slow context",
         "h' = tanh(V s + Q c'),  s = σ(W x + U h + P c')\nc' = (1 - α) W x + α c"),
    Line("sgrn", "SGRNCell", _H, of.Biases, "doi 10.1049/gtd2.12056", "simple gated network",
         "h' = tanh((1 - f) ∘ (W x) + f ∘ h),  f = σ(W x + U h)"),
    Line("sgu", "SGUCell", _H, of.Sgu, _SGU, "simple gated unit",
         f"h' = {_KEEP},  z = hardσ(W x + U h),  n = softplus(tanh(U (W x ∘ h)) ∘ h)"),
    Line("dsgu", "DSGUCell", _H, of.Dsgu, _SGU, "deep simple gated unit",
         f"h' = {_KEEP},  z = hardσ(W x + U h),  n = σ(V (tanh(U (W x ∘ h)) ∘ h))"),
    Line("star", "STARCell", _H, of.Biases, "Turkoglu, D'Aronco, Wegner & Schindler 2019, arXiv 1911.11033",
         "gated cell designed for stacking", f"h' = tanh({_KEEP}),  z = σ(W x + U h),  n = tanh(W x)"),
    Line("tau-gru", "tauGRUCell", ("h", "past"), of.TauGru, "Erichson, Lim & Mahoney 2022, arXiv 2212.00228",
         "GRU that also reads the state of some steps ago",
         "h' = (1 - g) ∘ h + g ∘ (tanh(W x + U h) + a ∘ tanh(W x + U hᵈ)),  g = σ(W x + U h),  a = σ(W x + U h)\n"
         "past' = the last d states, the oldest hᵈ"),
    Line("trnn", "TRNNCell", _H, of.Trnn, _TYPED, "strongly typed network: gates of the input alone",
         "h' = f ∘ h + (1 - f) ∘ (W x),  f = σ(W x)"),
    Line("tgru", "TGRUCell", ("h", "x"), of.StronglyTyped, _TYPED,
         "strongly typed GRU: gates of this input and the last",
         "h' = σ(f) ∘ h + z ∘ tanh(o),  (z, f, o) = W x' + U x\nx' = the input"),
    Line("tlstm", "TLSTMCell", ("y", "c", "x"), of.StronglyTyped, _TYPED,
         "strongly typed LSTM: gates of this input and the last",
         "y = c' ∘ tanh(o)\nc' = σ(f) ∘ c + (1 - σ(f)) ∘ z,  (z, f, o) = W x' + U x\nx' = the input"),
    Line("ugrnn", "UGRNNCell", _H, of.Biases, "Collins, Sohl-Dickstein & Sussillo 2017, arXiv 1611.09913",
         "update-gate network", "h' = z ∘ h + (1 - z) ∘ tanh(W x + U h),  z = σ(W x + U h)"),
    Line("unicornn", "UnICORNNCell", _HC, of.Unicornn, "Rusch & Mishra 2021, arXiv 2103.05487",
         "oscillators without damping: h the position, c the momentum",
         "h' = h + dt σ(a) ∘ c'\nc' = c - dt σ(a) ∘ (tanh(W x + w ∘ h) + α h)"),
    Line("wmclstm", "WMCLSTMCell", _HC, of.Wmclstm, "Landi, Baraldi, Cornia & Cucchiara 2021, arXiv 2109.00020",
         "LSTM whose gates read the memory through a matrix",
         "h' = σ(o + tanh(V c')) ∘ tanh(c')\n"
         "c' = σ(f + tanh(V c)) ∘ c + σ(i + tanh(V c)) ∘ tanh(g),  (i, f, g, o) = W x + U h"),
)  # fmt: skip
