"""The catalogue entries of the gated cells; imports no torch."""

from undertow import CellSpec
from undertow_cells.gated.options import (
    BrcOptions,
    FastgrnnOptions,
    GruOptions,
    JanetOptions,
    LstmCoupledOptions,
    LstmLayernormOptions,
    LstmNoForgetOptions,
    LstmOptions,
    LstmPeepholeOptions,
    MguOptions,
    NbrcOptions,
    NruOptions,
    SlstmOptions,
    UgrnnOptions,
    UrLstmOptions,
)

SPECS = (
    CellSpec(
        name="lstm",
        summary="Long short-term memory with a forget gate: a memory that is added to, not multiplied by a matrix",
        factory="undertow_cells.gated.lstm:LSTM",
        options=LstmOptions,
        paper=(
            "Hochreiter & Schmidhuber 1997, doi 10.1162/neco.1997.9.8.1735; Gers, Schmidhuber & Cummins 2000, "
            "doi 10.1162/089976600300015015; chrono: Tallec & Ollivier 2018, arXiv 1804.11188"
        ),
        state=("h", "c"),
        equation="h' = σ(o) ∘ tanh(c')\nc' = σ(f) ∘ c + σ(i) ∘ tanh(g)",
    ),
    CellSpec(
        name="lstm-peephole",
        summary="LSTM whose gates read the memory, even while the output gate is closed",
        factory="undertow_cells.gated.lstm_peephole:PeepholeLSTM",
        options=LstmPeepholeOptions,
        paper="Gers, Schraudolph & Schmidhuber 2002, JMLR 3:115-143",
        state=("h", "c"),
        equation="h' = σ(o + p_o ∘ c') ∘ tanh(c')\nc' = σ(f + p_f ∘ c) ∘ c + σ(i + p_i ∘ c) ∘ tanh(g)",
    ),
    CellSpec(
        name="lstm-coupled",
        summary="LSTM with one gate for forgetting and writing: the share that is not kept is replaced",
        factory="undertow_cells.gated.lstm_coupled:CoupledLSTM",
        options=LstmCoupledOptions,
        paper="Greff et al. 2017, arXiv 1503.04069",
        state=("h", "c"),
        equation="h' = σ(o) ∘ tanh(c')\nc' = σ(f) ∘ c + (1 - σ(f)) ∘ tanh(g)",
    ),
    CellSpec(
        name="lstm-no-forget",
        summary="The original LSTM, without a forget gate: the memory is a sum",
        factory="undertow_cells.gated.lstm_no_forget:NoForgetLSTM",
        options=LstmNoForgetOptions,
        paper="Hochreiter & Schmidhuber 1997, doi 10.1162/neco.1997.9.8.1735; Greff et al. 2017, arXiv 1503.04069",
        state=("h", "c"),
        equation="h' = σ(o) ∘ tanh(c')\nc' = c + σ(i) ∘ tanh(g)",
    ),
    CellSpec(
        name="lstm-layernorm",
        summary="LSTM with layer normalisation of the gates' inputs and of the memory that is output",
        factory="undertow_cells.gated.lstm_layernorm:LayerNormLSTM",
        options=LstmLayernormOptions,
        paper="Ba, Kiros & Hinton 2016, arXiv 1607.06450",
        state=("h", "c"),
        equation="h' = σ(o) ∘ tanh(LN(c'))\nc' = σ(f) ∘ c + σ(i) ∘ tanh(g),  (i, f, o, g) = LN(W x) + LN(U h) + b",
    ),
    CellSpec(
        name="ur-lstm",
        summary="LSTM whose forget gates start uniform over (0, 1), and are refined by a gate where they saturate",
        factory="undertow_cells.gated.ur_lstm:URLSTM",
        options=UrLstmOptions,
        paper="Gu, Gulcehre, Paine, Hoffman & Pascanu 2020, arXiv 1910.09890",
        state=("h", "c"),
        equation=(
            "h' = σ(o) ∘ tanh(c')\nc' = k ∘ c + (1 - k) ∘ tanh(g)\n"
            "k = r (1 - (1 - f)²) + (1 - r) f²,  f = σ(·), r = σ(·)"
        ),
    ),
    CellSpec(
        name="slstm",
        summary="LSTM with an exponential input gate, which can outweigh everything stored before; from xLSTM",
        factory="undertow_cells.gated.slstm:SLSTM",
        options=SlstmOptions,
        paper="Beck et al. 2024, arXiv 2405.04517",
        state=("h", "c", "n", "m"),
        equation=(
            "h' = σ(o) ∘ c' / n'\nc' = exp(log f + m - m') ∘ c + exp(i - m') ∘ tanh(z)\n"
            "n' = exp(log f + m - m') ∘ n + exp(i - m')\nm' = max(log f + m, i), or i while n = 0"
        ),
    ),
    CellSpec(
        name="gru",
        summary="Gated recurrent unit, the reset gate after the matrix product as in the fused kernels, or before it",
        factory="undertow_cells.gated.gru:GRU",
        options=GruOptions,
        paper="Cho et al. 2014, arXiv 1406.1078",
        state=("h",),
        equation="h' = (1 - σ(z)) ∘ n + σ(z) ∘ h,  n = tanh(W x + b + σ(r) ∘ (U h + b'))",
    ),
    CellSpec(
        name="ugrnn",
        summary="Update-gate network: one gate that keeps or replaces; between an RNN and a GRU",
        factory="undertow_cells.gated.ugrnn:UGRNN",
        options=UgrnnOptions,
        paper="Collins, Sohl-Dickstein & Sussillo 2017, arXiv 1611.09913",
        state=("h",),
        equation="h' = σ(g) ∘ h + (1 - σ(g)) ∘ tanh(W x + U h + b)",
    ),
    CellSpec(
        name="mgu",
        summary="Minimal gated unit: a GRU whose one gate both resets and updates",
        factory="undertow_cells.gated.mgu:MGU",
        options=MguOptions,
        paper="Zhou, Wu, Zhang & Zhou 2016, arXiv 1603.09420",
        state=("h",),
        equation="h' = (1 - σ(f)) ∘ h + σ(f) ∘ tanh(W x + U (σ(f) ∘ h) + b)",
    ),
    CellSpec(
        name="janet",
        summary="LSTM with the forget gate alone, which starts with time scales spread over the task's length",
        factory="undertow_cells.gated.janet:JANET",
        options=JanetOptions,
        paper="Van der Westhuizen & Lasenby 2018, arXiv 1804.04849; chrono: Tallec & Ollivier 2018, arXiv 1804.11188",
        state=("h",),
        equation="h' = σ(s) ∘ h + (1 - σ(s - β)) ∘ tanh(W x + U h + b)",
    ),
    CellSpec(
        name="fastgrnn",
        summary="Gated network with the matrices of an RNN and two learned scalars; made for small devices",
        factory="undertow_cells.gated.fastgrnn:FastGRNN",
        options=FastgrnnOptions,
        paper="Kusupati et al. 2018, arXiv 1901.02358",
        state=("h",),
        equation="h' = (σ(ζ) (1 - σ(z)) + σ(ν)) ∘ tanh(W x + U h + b) + σ(z) ∘ h",
    ),
    CellSpec(
        name="brc",
        summary="Bistable cell: each unit reads its own state alone, and can hold a value by feeding back on itself",
        factory="undertow_cells.gated.brc:BRC",
        options=BrcOptions,
        paper="Vecoven, Ernst & Drion 2021, arXiv 2006.05252",
        state=("h",),
        equation="h' = σ(c) ∘ h + (1 - σ(c)) ∘ tanh(W x + b + (1 + tanh(a)) ∘ h),  a = W x + u ∘ h + b, c alike",
    ),
    CellSpec(
        name="nbrc",
        summary="Neuromodulated bistable cell: each unit can hold a value by feeding back on itself",
        factory="undertow_cells.gated.nbrc:NBRC",
        options=NbrcOptions,
        paper="Vecoven, Ernst & Drion 2021, arXiv 2006.05252",
        state=("h",),
        equation="h' = σ(c) ∘ h + (1 - σ(c)) ∘ tanh(W x + b + (1 + tanh(a)) ∘ h)",
    ),
    CellSpec(
        name="nru",
        summary="Non-saturating recurrent unit: relu heads write to a memory and erase from it; no sigmoid, no tanh",
        factory="undertow_cells.gated.nru:NRU",
        options=NruOptions,
        paper="Chandar, Sankar, Vorontsov, Kahou & Bengio 2019, arXiv 1902.06704",
        state=("h", "m"),
        equation=(
            "h' = relu(W x + U [h, m] + b)\nm' = m + Σ (α v - β w) / K,  α, β = relu(V [h', m] + b),  "
            "v, w = relu(p qᵀ) of 5-norm 1"
        ),
    ),
)
