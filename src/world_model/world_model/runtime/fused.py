"""The forecast with memories of many candidates and horizons at once: the trained weights, what is shared done once.

It gives what ``Transition.forecast`` gives, to single precision. What depends on the candidate alone (context, present,
what its appearance neighbours say) is computed once for all horizons; what reads the same input is folded into one
layer; each layer and its activation run as one kernel where the processor's library has one. On a GPU all candidates
are one batch, recorded as a CUDA graph.

Shape suffixes: B = candidates, H = horizons, K = neighbours, D = latent size, A = action size, F = features, W = width.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from world_model.errors import ArtifactError
from world_model.runtime.captured import Captured
from world_model.runtime.conditioning import ANTICIPATED_FEATURES, HORIZON_LOG_SPAN, HORIZON_UNIT_S, MOTION_FEATURES
from world_model.runtime.cuda_graphs import CudaGraphs
from world_model.runtime.tensors import Observed, Retrieved

_CHUNK_ROWS = 1280
"""Rows at a time: each call of a kernel costs as much as some hundred rows, so few large ones take less than many."""
_HORIZON_FEATURES = 3
_NEEDED = ("context.cells.0.weight_ih", "blind.linear.weight", "memory.warp.hidden.1.weight", "memory.gate.weight")


class _Layer:
    """A linear layer, and what follows it, as one kernel where there is one.

    Args:
        weight: [out, in].
        bias: [out], or None.
        is_bent: Whether SiLU follows.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, *, is_bent: bool = False) -> None:
        self._weight, self._bias, self._is_bent = weight.contiguous(), bias, is_bent
        self._packed = _packed(self._weight)

    def __call__(self, value: Tensor) -> Tensor:
        if self._packed is not None:
            after = "swish" if self._is_bent else "none"
            flat = value.reshape(-1, value.size(-1))
            found: Tensor = torch.ops.mkldnn._linear_pointwise(flat, self._packed, self._bias, after, [], "")
            return found.unflatten(0, value.shape[:-1]) if value.dim() != 2 else found
        found = functional.linear(value, self._weight, self._bias)
        return functional.silu(found, inplace=True) if self._is_bent else found


def _packed(weight: Tensor) -> Tensor | None:
    """Return a weight as oneDNN's kernel takes it; None: it is not on a CPU, or the kernel does not run on this one."""
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return None
    try:
        packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, 8 * _CHUNK_ROWS)
        torch.ops.mkldnn._linear_pointwise(weight.new_zeros(1, weight.size(1)), packed, None, "swish", [], "")
    except (AttributeError, RuntimeError):  # private to torch: builds for other processors may lack it
        return None
    return packed


class _Shared(NamedTuple):
    """What one candidate's horizons have in common; tensors [B, ...], ready to be broadcast over horizons."""

    z: Tensor
    linear: Tensor
    bent: Tensor
    around: Tensor
    fixed: Tensor
    change: Tensor
    off: Tensor
    carried: Tensor
    following: Tensor


class FusedForecast:
    """``Transition.forecast`` for many candidates from one artifact's weights.

    Args:
        weights: Of the transition, by name; it runs where they lie.
        threads: How many chunks run at a time on the processor.

    Raises:
        ArtifactError: The transition is of another kind: its own ``forecast`` has to do.
    """

    def __init__(self, weights: Mapping[str, Tensor], threads: int = 1) -> None:
        missing = [name for name in _NEEDED if name not in weights]
        if missing or "context.cells.1.weight_ih" in weights or weights["memory.fix.0.weight"].size(0) < 4:
            raise ArtifactError(f"the transition is no GRU of one layer with a memory: it lacks {missing or 'that'}")
        self._w = {name: value.detach().float() for name, value in weights.items()}
        self._threads, self._pool = threads, ThreadPoolExecutor(threads) if threads > 1 else None
        self._dim = self._w["latent_mean"].numel()
        self._hidden = self._w["context.cells.0.weight_hh"].size(1)
        self._gate_scale = torch.tanh(self._w["memory.alpha"])
        self._sharp = functional.softplus(self._w["memory.sharpness"]).square()
        self._blur = functional.softplus(self._w["memory.blur"])
        self._near_3 = torch.full((3,), 25.0, device=self._w["latent_mean"].device)
        self._ridge = functional.softplus(self._w["memory.ridge"])
        self._make_layers()
        device = self._w["latent_mean"].device
        self._captured = Captured("fused forecast", self.at_once, CudaGraphs(device)) if device.type == "cuda" else None

    def _make_layers(self) -> None:
        """Cut and fold the weights into layers that each read what is at hand."""
        w, dim, hidden = self._w, self._dim, self._hidden
        width = w["memory.token_in.weight"].size(0)
        layer = self._layer
        present = hidden + 2 * dim + w["action_mean"].numel()
        first = w["blind.net.0.weight"]
        self._bent_present = _Layer(first[:, :present], w["blind.net.0.bias"])
        self._bent_row = _Layer(first[:, present:], None)
        self._bent_1, self._bent_2 = layer("blind.net.2", is_bent=True), layer("blind.net.4")
        self._linear = layer("blind.linear")
        around = w["memory.around_in.weight"]
        # base, change, off, seen, code, motion: the second to fourth belong to the candidate.
        self._around_shared = _Layer(around[:, dim : 2 * dim + 4], w["memory.around_in.bias"])
        token = w["memory.token_in.weight"]
        read = ANTICIPATED_FEATURES + 3
        latent, less = token[:, read : read + dim], token[:, read + dim :]
        self._token = _Layer(torch.cat([token[:, :read], latent + less], 1), w["memory.token_in.bias"])
        # The token's part of the base goes with what else is added to every neighbour's token.
        self._around_row = _Layer(torch.cat([around[:, :dim] - less, around[:, 2 * dim + 4 :]], 1), None)
        mix = w["memory.token_mix.weight"]
        self._mix, self._mix_pooled = _Layer(mix[:, :width], w["memory.token_mix.bias"]), _Layer(mix[:, width:], None)
        follow = w["memory.successor_mix.weight"]
        self._follow_shared = _Layer(follow[:, : width + dim], w["memory.successor_mix.bias"])
        self._follow_latent = _Layer(follow[:, width + dim : width + 2 * dim], None)
        self._follow_row = _Layer(torch.cat([-follow[:, width + dim : width + 2 * dim], follow[:, -3:]], 1), None)
        self._carry, self._follow_carry = layer("memory.carry"), layer("memory.successor_carry")
        self._enter = layer("memory.warp.enter", is_bent=True)
        self._inner = [layer(f"memory.warp.hidden.{number}", is_bent=True) for number in (0, 1)]
        self._leave, self._correct = layer("memory.warp.leave"), layer("memory.token_correction")
        self._score, self._follow_score = layer("memory.anticipated_score"), layer("memory.successor_score")
        fix, at = w["memory.fix.0.weight"], hidden + 2 * width
        # hidden, told, pooled, copied, copied - base, change, z, code, fit, seen, count
        copied, minus = fix[:, at : at + dim], fix[:, at + dim : at + 2 * dim]
        own = [fix[:, :hidden], fix[:, at + 2 * dim : at + 4 * dim], fix[:, at + 4 * dim + 6 : at + 4 * dim + 7]]
        self._fix_shared = _Layer(torch.cat(own, 1), w["memory.fix.0.bias"])
        rest = [fix[:, hidden:at], copied + minus, -minus, fix[:, at + 4 * dim : at + 4 * dim + 6], fix[:, -1:]]
        self._fix_row, self._fix_1 = _Layer(torch.cat(rest, 1), None), layer("memory.fix.2", is_bent=True)
        gate = torch.cat([w["memory.correction.weight"], w["memory.gate.weight"]])
        self._gates = _Layer(gate, torch.cat([w["memory.correction.bias"], w["memory.gate.bias"]]))
        self._reader = [layer("memory.appearance.net.0", is_bent=True), layer("memory.appearance.net.2", is_bent=True)]
        self._reader_score = layer("memory.appearance.score")

    def _layer(self, name: str, *, is_bent: bool = False) -> _Layer:
        return _Layer(self._w[f"{name}.weight"], self._w.get(f"{name}.bias"), is_bent=is_bent)

    def forecast(self, observed: Observed, retrieved: Retrieved) -> tuple[Tensor, Tensor, Tensor]:
        """Return the forecasts [B, H, D], those without memories [B, H, D] and the gates [B, H].

        Args:
            observed: Of every candidate, after observing the present; horizons are those of the first candidate, and
                the visual history is not read.
            retrieved: What the memory answered, latents in the encoder's own scale.
        """
        if self._captured is not None:
            found: tuple[Tensor, Tensor, Tensor] = self._captured(*_read(observed, retrieved))
            return found
        with torch.inference_mode():
            return self._forecast(observed, retrieved)

    def at_once(self, observed: Observed, retrieved: Retrieved) -> tuple[Tensor, Tensor, Tensor]:
        """Return what ``forecast`` does in one piece, looking at no value: as it may be recorded.

        Args:
            observed: As above.
            retrieved: As above; successors of no memory at all where nothing is known of them.
        """
        mean, std = self._w["latent_mean"], self._w["latent_std"]
        followed = retrieved.successor_valid
        latent, base, gate = self._chunk(
            self._share(observed, retrieved), observed.motion, _code(observed.horizon_s[0]),
            retrieved.anticipated_feature, (retrieved.anticipated_latent - mean) / std, retrieved.anticipated_valid,
            ((retrieved.successor_latent - mean) / std, followed) if followed.size(2) else None,
        )  # fmt: skip
        return latent * std + mean, base * std + mean, gate

    def _forecast(self, observed: Observed, retrieved: Retrieved) -> tuple[Tensor, Tensor, Tensor]:
        mean, std = self._w["latent_mean"], self._w["latent_std"]
        code_HC = _code(observed.horizon_s[0])
        shared = self._share(observed, retrieved)
        followed = retrieved.successor_valid
        # Where nothing is known of what followed, nothing need be computed of it.
        is_followed = bool(followed.any())
        count, horizons = observed.motion.shape[:2]
        size = max(1, min(_CHUNK_ROWS // horizons, -(-count // self._threads)))
        out = [torch.empty(count, horizons, self._dim) for _ in range(2)] + [torch.empty(count, horizons)]

        def work(start: int) -> None:
            part = slice(start, start + size)
            with torch.inference_mode():
                found = self._chunk(
                    _Shared(*(value[part] for value in shared)), observed.motion[part], code_HC,
                    retrieved.anticipated_feature[part], (retrieved.anticipated_latent[part] - mean) / std,
                    retrieved.anticipated_valid[part],
                    ((retrieved.successor_latent[part] - mean) / std, followed[part]) if is_followed else None,
                )  # fmt: skip
                for whole, piece in zip(out, found):
                    whole[part] = piece

        starts = range(0, count, size)
        for _ in map(work, starts) if self._pool is None else self._pool.map(work, starts):
            pass
        return out[0].mul_(std).add_(mean), out[1].mul_(std).add_(mean), out[2]

    def _share(self, observed: Observed, retrieved: Retrieved) -> _Shared:
        """Return what the horizons of each candidate have in common."""
        w, dim = self._w, self._dim
        z = (observed.latent - w["latent_mean"]) / w["latent_std"]
        action = torch.nan_to_num((observed.action - w["action_mean"]) / w["action_std"], nan=0.0)
        hidden, last = observed.state[:, : self._hidden], observed.state[:, -dim - 1 : -1]
        linear = self._linear(torch.cat([z, last, action], 1)).unflatten(1, (_HORIZON_FEATURES, dim))
        bent = self._bent_present(torch.cat([hidden, z, last, action], 1))
        latent = (retrieved.appearance_latent - w["latent_mean"]) / w["latent_std"]
        feature = retrieved.appearance_feature
        moved = z.unsqueeze(1) - latent
        distance = moved.square().mean(2, keepdim=True)
        token = torch.cat([feature, latent, moved, torch.sqrt(distance + 1e-6)], 2)
        reader = self._reader[1](self._reader[0](token))
        score = self._reader_score(reader).squeeze(2) - 4.0 * distance.squeeze(2)
        score = score.masked_fill(~retrieved.appearance_valid, -1e4)
        nothing = w["memory.appearance.nothing"].expand(len(z), 1) - 4.0
        weight = torch.softmax(torch.cat([score, nothing], 1), 1)[:, :-1].unsqueeze(2)
        change, off = (weight * moved).sum(1), (weight * feature[..., :3]).sum(1)
        seen = weight.sum(1)
        around = self._around_shared(torch.cat([change, off, seen], 1))
        fixed = self._fix_shared(torch.cat([hidden, change, z, seen], 1))
        following = self._follow_shared(torch.cat([reader, moved], 2))
        return _Shared(z, linear, bent, around, fixed, self._carry(change), off, self._follow_carry(moved), following)

    def _chunk(
        self, own: _Shared, motion: Tensor, code_HC: Tensor, feature: Tensor, latent: Tensor, valid: Tensor,
        after: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """Return forecast, forecast without memories and gate of some candidates, normalised."""
        told = torch.log(motion[..., 4:] + 0.01).mul_(0.5).add_(1.0).mul_(motion[..., 3:4])
        code = code_HC.expand(len(motion), -1, -1)
        moving = torch.cat([motion[..., :4], told, code], 2)
        base = self._base(own, moving, code_HC)
        offset = feature[..., :3] - (self._w["memory.relocate"] * own.off)[:, None, None]
        square, count = offset * offset, valid.size(2)
        closeness = self._sharp / (1.0 + self._sharp * (self._blur * motion[..., 4:]).square())
        nearness = torch.matmul(square, closeness.unsqueeze(3)).squeeze(3)
        token, pooled, number = self._tokens(own, base, moving, feature, offset, latent, valid)
        value = self._warped(latent, offset, square).add_(self._correct(token))
        real, score, tokens = valid, self._score(token).squeeze(3) - nearness, token
        if after is not None:
            real, score, tokens = self._with_successors(own, base, code, after, (real, score, tokens))
        weight = torch.softmax(score.masked_fill(~real, -1e4), 2) * real
        plane = _plane if value.device.type == "cpu" else _plane_in_few
        copied = _mixed(plane(weight[..., :count], offset, self._ridge), value).add_(own.change[:, None])
        if after is not None:
            copied.add_(_mixed(weight[..., count:], after[0] + own.carried[:, None]))
        near = nearness.masked_fill(~valid, 100.0).amin(2, keepdim=True).add_(1e-6).sqrt_()
        less = value - copied.unsqueeze(2)
        spread = _mixed(weight[..., :count], less.mul_(less)).mean(2, keepdim=True).add_(1e-6).sqrt_()
        share = weight[..., :count].sum(2, keepdim=True)
        said = [_mixed(weight, tokens), pooled, copied, base, code, spread, near, share, number / count]
        return self._gated(own, torch.cat(said, 2), copied, base, real.any(2))

    def _gated(
        self, own: _Shared, said: Tensor, copied: Tensor, base: Tensor, is_any: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the corrected forecast, the one without memories and the gate."""
        fix = self._fix_row(said).add_(own.fixed[:, None])
        gates = self._gates(self._fix_1(functional.silu(fix, inplace=True)))
        gate = torch.sigmoid(gates[..., self._dim :]).mul_(self._gate_scale)
        changed = base + gate * (copied.add_(gates[..., : self._dim]) - base)
        result = torch.where(is_any.unsqueeze(2), changed, base)
        return result, base, gate.mean(2).clamp_(0.0, 1.0).mul_(is_any)

    def _with_successors(
        self, own: _Shared, base: Tensor, code: Tensor, after: tuple[Tensor, Tensor],
        neighbours: tuple[Tensor, Tensor, Tensor],
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """Return which are real, their scores and their tokens: of the neighbours, then of the successors."""
        follow = self._follow_latent(after[0]).add_(own.following[:, None])
        follow.add_(self._follow_row(torch.cat([base, code], 2)).unsqueeze(2))
        follow = functional.silu(follow, inplace=True)
        score = self._follow_score(follow).squeeze(3) - 2.0
        both = zip(neighbours, (after[1], score, follow))
        real, scores, tokens = (torch.cat(pair, 2) for pair in both)
        return real, scores, tokens

    def _base(self, own: _Shared, moving: Tensor, code_HC: Tensor) -> Tensor:
        """Return the forecast without memories."""
        bent = functional.silu(self._bent_row(moving).add_(own.bent[:, None]), inplace=True)
        return self._bent_2(self._bent_1(bent)).add_(torch.matmul(code_HC, own.linear)).add_(own.z[:, None])

    def _tokens(
        self, own: _Shared, base: Tensor, moving: Tensor, feature: Tensor, offset: Tensor, latent: Tensor, valid: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return a token of each neighbour, their mean, and how many are real."""
        # The layer's order of what it reads of a row: base, code, motion.
        code_first = torch.cat([base, moving[..., -_HORIZON_FEATURES:], moving[..., :MOTION_FEATURES]], 2)
        around = self._around_row(code_first).add_(own.around[:, None])
        token = self._token(torch.cat([feature, offset, latent], 3)).add_(around.unsqueeze(2))
        token = functional.silu(token, inplace=True)
        real = valid.to(token.dtype)
        number = real.sum(2, keepdim=True)
        pooled = _mixed(real, token).div_(number.clamp(min=1.0))
        mixed = self._mix(token).add_(self._mix_pooled(pooled).unsqueeze(2))
        return functional.silu(mixed, inplace=True), pooled, number

    def _warped(self, latent: Tensor, offset: Tensor, square: Tensor) -> Tensor:
        """Return the neighbours' latents as seen from where the robot will be."""
        near = 5.0 * offset
        twice = 2.0 * near
        code = self._enter(torch.cat([latent, near, torch.sin(twice), torch.cos(twice), near.abs()], -1))
        for layer in self._inner:
            code = code.add_(layer(code))
        far = torch.matmul(square, self._near_3).unsqueeze(-1).add_(1e-6).sqrt_().sub_(1e-3).tanh_()
        return self._leave(code).mul_(far).add_(latent)


def _code(horizon_H: Tensor) -> Tensor:
    """Return the code of the times ahead, as trained, [H, 3]."""
    return torch.stack(
        [horizon_H, torch.sqrt(horizon_H), torch.log(horizon_H / HORIZON_UNIT_S) / HORIZON_LOG_SPAN], dim=-1
    )


def _read(observed: Observed, retrieved: Retrieved) -> tuple[Observed, Retrieved]:
    """Return what is read of both; on a GPU nobody looks whether any successor is known, which would wait for it."""
    observed = observed._replace(history=observed.history[:, :0])
    followed = retrieved.successor_valid
    if not followed.is_cuda and not bool(followed.any()):
        latent = retrieved.successor_latent[:, :, :0]
        retrieved = retrieved._replace(successor_latent=latent, successor_valid=followed[:, :, :0])
    return observed, retrieved


def _mixed(weight: Tensor, value: Tensor) -> Tensor:
    """Return weighted sums over the neighbours, [B, H, D]."""
    if weight.device.type != "cpu":
        return torch.matmul(weight.unsqueeze(2), value).squeeze(2)
    # Matrices this small take a processor's library several times as long as going through the few neighbours.
    first, *others = zip(weight.unsqueeze(3).unbind(2), value.unbind(2))
    mixed = first[0] * first[1]
    for share, of in others:
        mixed.addcmul_(share, of)
    return mixed


def _plane(weight_K: Tensor, offset_K3: Tensor, ridge_3: Tensor) -> Tensor:
    """Return the weights that read a plane through weighted neighbours at offset zero, as trained."""
    share_K1 = (weight_K / weight_K.sum(-1, keepdim=True).clamp(min=1e-6)).unsqueeze(-1)
    mean_3 = (share_K1 * offset_K3).sum(-2)
    centred_K3 = offset_K3 - mean_3.unsqueeze(-2)
    matrix = torch.matmul((share_K1 * centred_K3).transpose(-1, -2), centred_K3)
    a, b, c = (matrix[..., at, at] + ridge_3[at] for at in range(3))
    d, e, f = matrix[..., 0, 1], matrix[..., 0, 2], matrix[..., 1, 2]
    bc, de, ef = b * c - f * f, e * f - d * c, d * f - e * b
    determinant = a * bc + d * de + e * ef
    m0, m1, m2 = mean_3.unbind(-1)
    slopes = (
        bc * m0 + de * m1 + ef * m2,
        de * m0 + (a * c - e * e) * m1 + (d * e - a * f) * m2,
        ef * m0 + (d * e - a * f) * m1 + (a * b - d * d) * m2,
    )
    slope_3 = torch.stack(slopes, -1) / determinant.unsqueeze(-1)
    return weight_K * (1.0 - torch.matmul(centred_K3, slope_3.unsqueeze(-1)).squeeze(-1))


def _plane_in_few(weight_K: Tensor, offset_K3: Tensor, ridge_3: Tensor) -> Tensor:
    """Return what ``_plane`` does, in few kernels: the rows of a symmetric matrix's adjugate are their products."""
    share_K1 = (weight_K / weight_K.sum(-1, keepdim=True).clamp(min=1e-6)).unsqueeze(-1)
    mean_3 = (share_K1 * offset_K3).sum(-2)
    centred_K3 = offset_K3 - mean_3.unsqueeze(-2)
    matrix_33 = torch.matmul((share_K1 * centred_K3).transpose(-1, -2), centred_K3) + torch.diag_embed(ridge_3)
    next_33, last_33 = matrix_33.roll(-1, -2), matrix_33.roll(1, -2)
    adjugate_33 = torch.linalg.cross(next_33, last_33, dim=-1)
    determinant_1 = (matrix_33[..., 0, :] * adjugate_33[..., 0, :]).sum(-1, keepdim=True)
    slope_31 = torch.matmul(adjugate_33, mean_3.unsqueeze(-1)) / determinant_1.unsqueeze(-1)
    return weight_K * (1.0 - torch.matmul(centred_K3, slope_31).squeeze(-1))
