"""Multi-head latent attention (2405.04434): keys and values of all heads out of one small vector a token.

Shapes: B batch, T new positions, S all positions (cached and new), D hidden_size, H query heads,
N qk_nope_head_dim, R qk_rope_head_dim, V v_head_dim, C kv_lora_rank, W = C + R.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmkit.errors import ConfigError
from llmkit.model.adapters.addition import LowRankAddition, added
from llmkit.model.attend import attend, attend_row, joined
from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import LATENT_NORM_EPS, LatentConfig
from llmkit.model.held import HeldLayer
from llmkit.model.layout import Layout
from llmkit.model.learnt.attention import attend_learning, learns_here
from llmkit.model.norm import RMSNorm
from llmkit.model.rope import rotate


class LatentAttention(nn.Module):
    """Causal attention over latents, in the tensor names of DeepSeek-V2 and V3.

    A token's latent c (C numbers) gives head h its key W_UK,h c and its value W_UV,h c; the R numbers of a
    key that know the position come straight from the token, and are the same for all heads. Two ways:

    - expanded: make keys and values, then attend as usual;
    - absorbed: q . (W_UK c) = (W_UK^T q) . c, so take queries into the latent space, attend over the latents
      themselves (one key head of W numbers, read by all query heads), and take the result out through W_UV.

    Raises:
        ConfigError: the config has no latent part.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if config.latent is None:
            raise ConfigError("latent attention has no kv_lora_rank", hint="set kv_lora_rank in config.json")
        self.latent = latent = config.latent
        self.interleaved = config.rope_interleaved
        key_dim = latent.qk_nope_head_dim + latent.qk_rope_head_dim
        self.scale = config.attention_scale or key_dim**-0.5
        D, H, biased = config.hidden_size, config.num_attention_heads, config.attention_bias
        if latent.q_lora_rank:
            self.q_a_proj = nn.Linear(D, latent.q_lora_rank, bias=biased)
            self.q_a_layernorm = RMSNorm(latent.q_lora_rank, LATENT_NORM_EPS)
            self.q_b_proj = nn.Linear(latent.q_lora_rank, H * key_dim, bias=False)
        else:
            self.q_proj = nn.Linear(D, H * key_dim, bias=False)
        self.kv_a_proj_with_mqa = nn.Linear(D, latent.kv_lora_rank + latent.qk_rope_head_dim, bias=biased)
        self.kv_a_layernorm = RMSNorm(latent.kv_lora_rank, LATENT_NORM_EPS)
        self.kv_b_proj = nn.Linear(
            latent.kv_lora_rank, H * (latent.qk_nope_head_dim + latent.v_head_dim), bias=False
        )
        self.o_proj = nn.Linear(H * latent.v_head_dim, D, bias=config.output_bias)
        self.additions: Sequence[LowRankAddition | None] = ()
        """What adapters add to kv_b_proj, of each text in a cached pass; empty: nothing. Who computes passes
        puts it here, for the module is not called where its matrix is absorbed."""

    def forward(self, x: Tensor, layout: Layout, cache: HeldLayer | None = None) -> Tensor:
        """x: (B, T, D). Returns (B, T, D)."""
        q_nope, q_rope = self._queries(x, layout)
        rows = self._rows(x, layout)
        if cache is None:
            q, (k, v) = torch.cat((q_nope, q_rope), dim=-1), self._keys_and_values(rows)
            y = self._attend_row(q, k, v, layout)  # (B, H, T, V)
        else:  # text by text, each with all of its rows, (B, S, W)
            texts = cache.extend((rows,), layout)
            y = joined(
                [
                    self._cached(
                        *(q_nope[:, :, part], q_rope[:, :, part], held, mask),
                        self.additions[number] if self.additions else None,
                    )
                    for number, (part, (held,), mask) in enumerate(texts)
                ]
            )
        return self.o_proj(y.transpose(1, 2).flatten(2))

    def qkv(self, x: Tensor, layout: Layout) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys, (B, H, T, N + R), and values, (B, H, T, V), expanded for every head.

        As if it attended so, for who wants to look on; absorbed attention gives the same and makes no keys.
        """
        k, v = self._keys_and_values(self._rows(x, layout))
        return torch.cat(self._queries(x, layout), dim=-1), k, v

    def _attend_row(self, q: Tensor, k: Tensor, v: Tensor, layout: Layout) -> Tensor:
        if learns_here(q, v, layout):
            return attend_learning(q, k, v, layout.first, scale=self.scale)
        return attend_row(q, k, v, layout, self._attend)

    def _cached(
        self,
        q_nope: Tensor,
        q_rope: Tensor,
        rows: Tensor,
        mask: Tensor | None,
        addition: LowRankAddition | None,
    ) -> Tensor:
        """Whichever way takes fewer operations. rows: (B, S, W). Returns (B, H, T, V)."""
        # absorbing reads the matrix itself; what stands in its place (an adapter, codes) is only called
        plain = type(self.kv_b_proj) is nn.Linear
        if plain and absorbing_is_cheaper(self.latent, q_nope.shape[2], rows.shape[1]):
            return self._absorbed(q_nope, q_rope, rows, mask, addition)
        keys, values = self._keys_and_values(rows, addition)
        return self._attend(torch.cat((q_nope, q_rope), dim=-1), keys, values, mask)

    def _queries(self, x: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
        """Without a position and with one: (B, H, T, N), (B, H, T, R)."""
        q = self.q_b_proj(self.q_a_layernorm(self.q_a_proj(x))) if self.latent.q_lora_rank else self.q_proj(x)
        N = self.latent.qk_nope_head_dim
        q = q.unflatten(-1, (-1, N + self.latent.qk_rope_head_dim)).transpose(1, 2)
        return q[..., :N], self._turned(q[..., N:], layout)

    def _rows(self, x: Tensor, layout: Layout) -> Tensor:
        """What is kept of each token: (B, T, W)."""
        row = self.kv_a_proj_with_mqa(x)
        C = self.latent.kv_lora_rank
        k_rope = self._turned(row[:, None, :, C:], layout)[:, 0]
        return torch.cat((self.kv_a_layernorm(row[..., :C]), k_rope), dim=-1)

    def _turned(self, x: Tensor, layout: Layout) -> Tensor:
        """x: (B, heads, T, R) at its positions."""
        if layout.cos is None or layout.sin is None:
            return x
        return rotate(x, layout.cos.to(x.dtype), layout.sin.to(x.dtype), interleaved=self.interleaved)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """q: (B, H, T, N + R); k: (B, H, S, N + R); v: (B, H, S, V). Returns (B, H, T, V)."""
        V = v.shape[-1]
        # PyTorch's fused kernel wants values as wide as keys; without it all T x S scores are written out
        v = F.pad(v, (0, max(0, k.shape[-1] - V)))
        return attend(q, k, v, mask, scale=self.scale)[..., :V]

    def _keys_and_values(
        self, rows: Tensor, addition: LowRankAddition | None = None
    ) -> tuple[Tensor, Tensor]:
        """What rows, (B, S, W), are to every head: (B, H, S, N + R), (B, H, S, V)."""
        N, V, C = self.latent.qk_nope_head_dim, self.latent.v_head_dim, self.latent.kv_lora_rank
        B, S, _ = rows.shape
        made = self.kv_b_proj(rows[..., :C])
        if addition is not None:
            made = added(addition, rows[..., :C], made).to(made.dtype)
        made = made.view(B, S, -1, N + V).transpose(1, 2)  # (B, H, S, N + V)
        k_rope = rows[:, None, :, C:].expand(-1, made.shape[1], -1, -1)
        return torch.cat((made[..., :N], k_rope), dim=-1), made[..., N:]

    def _absorbed(
        self,
        q_nope: Tensor,
        q_rope: Tensor,
        rows: Tensor,
        mask: Tensor | None,
        addition: LowRankAddition | None,
    ) -> Tensor:
        """Attention over the latents themselves. rows: (B, S, W). Returns (B, H, T, V)."""
        N, V, C = self.latent.qk_nope_head_dim, self.latent.v_head_dim, self.latent.kv_lora_rank
        made = self.kv_b_proj.weight.view(-1, N + V, C)
        into, out = made[:, :N], made[:, N:]  # (H, N, C), (H, V, C)
        q = torch.cat((self._asked(q_nope, into, addition), q_rope), dim=-1)  # (B, H, T, W)
        # whole rows as values, R numbers more than needed: keys and values are one tensor that the fused
        # kernel takes, and no key is copied
        shared = rows[:, None]  # (B, 1, S, W)
        if q.shape[2] == 1:  # heads as rows of one matrix: keys are read once, not once a head
            y = F.scaled_dot_product_attention(
                q.transpose(1, 2), shared, shared, attn_mask=mask, scale=self.scale
            ).transpose(1, 2)
        else:
            y = attend(q, shared, shared, mask, scale=self.scale)
        return self._taken(y[..., :C], out, addition)

    def _asked(self, q: Tensor, into: Tensor, addition: LowRankAddition | None) -> Tensor:
        """Queries that read latents: (B, H, T, N) to (B, H, T, C).

        With an addition q . (f W c + B A c) = ((f q) W + (q B) A) . c: no second matrix is made.
        """
        # einsum and not @, which would copy the matrices for every text of the batch
        if addition is None:
            return torch.einsum("bhtn,hnc->bhtc", q, into)
        H, N = into.shape[:2]
        b = addition.b.unflatten(1, (H, -1))[..., :N]  # (r, H, N)
        narrow = torch.einsum("bhtn,rhn->bhtr", q.float(), b)
        if addition.factors is not None:
            q = (q * addition.factors.unflatten(0, (H, -1))[:, None, :N]).to(q.dtype)
        return (torch.einsum("bhtn,hnc->bhtc", q, into).float() + narrow @ addition.a).to(q.dtype)

    def _taken(self, y: Tensor, out: Tensor, addition: LowRankAddition | None) -> Tensor:
        """What heads take home of sums of latents: (B, H, T, C) to (B, H, T, V)."""
        taken = torch.einsum("bhtc,hvc->bhtv", y, out)
        if addition is None:
            return taken
        H, V = out.shape[:2]
        b = addition.b.unflatten(1, (H, -1))[..., -V:]  # (r, H, V)
        more = torch.einsum("bhtr,rhv->bhtv", y.float() @ addition.a.T, b)
        factors = 1.0 if addition.factors is None else addition.factors.unflatten(0, (H, -1))[:, None, -V:]
        return (factors * taken.float() + more).to(taken.dtype)


def absorbing_is_cheaper(latent: LatentConfig, new: int, held: int) -> bool:
    """Whether T = `new` queries over S = `held` positions, the new ones included, cost less absorbed.

    Multiplications of one head, where values are brought to P = max(N + R, V) numbers:

        expanded    S C (N + V)  make keys and values      T S (N + R + P)  score and mix
        absorbed    T C (N + V)  queries in, results out   T S (2 C + 2 R)

    so absorbed is cheaper where C (N + V) (S - T) > T S (2 C + 2 R - N - R - P). Left is what expanding the
    past costs, right what wider rows cost: DeepSeek-V3 absorbs up to 170 tokens over a long past.
    """
    N, R, V = latent.qk_nope_head_dim, latent.qk_rope_head_dim, latent.v_head_dim
    C = latent.kv_lora_rank
    wider = 2 * (C + R) - (N + R) - max(N + R, V)
    return C * (N + V) * (held - new) > new * held * wider
