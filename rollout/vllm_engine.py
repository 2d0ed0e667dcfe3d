"""One vLLM engine in this process: sampling, probing, and the receiving end of weight updates."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from rlvr.errors import WeightUpdateError
from rlvr.protocols import Probe, ProbeScores, SampleRequest, SamplingSettings
from rlvr.records import Completion
from rlvr.rollout.checksums import Checksum, file_checksums, whole
from rlvr.rollout.engine_options import EngineOptions, prepare_environment
from rlvr.rollout.proof import comparable
from rlvr.seeds import derive_seed

Answer = tuple[int, list[Completion]]
"""A request's key and its completions."""
Inbox = SimpleQueue[SampleRequest | None]
"""Requests on their way to an engine, which may come while it samples; None is the last."""
TOLD_SHARE = 16
"""An engine tells of free places when an answer is whole, or when this part of its places has become free."""


@dataclass(frozen=True, slots=True)
class Served:
    """What an engine has got done since it last told."""

    answers: list[Answer]
    num_freed: int
    """Samples that have ended; their requests may still wait for others."""


@dataclass
class InHand:
    """Requests that vLLM has, and how much of them was told of."""

    open: dict[str, SampleRequest] = field(default_factory=dict)
    """By the id that vLLM has for them."""
    num_asked: int = 0
    """Samples handed over to vLLM so far."""
    num_told: int = 0
    """Of these, ended and told of."""


def further_arguments(options: EngineOptions) -> dict[str, Any]:
    """What vLLM is started with on some devices and in some runs alone, and what the user has added."""
    from vllm.config import WeightTransferConfig

    extra: dict[str, Any] = dict(options.engine_args)
    if options.weight_transfer is not None:
        extra["weight_transfer_config"] = WeightTransferConfig(backend=options.weight_transfer)
    if options.tensor_parallel_size > 1:
        # Inside a placement group vLLM would take Ray's executor, and one bundle per GPU.
        extra["distributed_executor_backend"] = "mp"
    if options.device == "cuda":
        extra["gpu_memory_utilization"] = options.gpu_memory_utilization
        extra["enable_sleep_mode"] = options.sleep
    else:
        # After part of a prompt vLLM sets a seeded request's generator back by an offset, which
        # generators on the CPU do not have ("CPU Generator does not use offset").
        extra["enable_chunked_prefill"] = False
    if options.cache_at_update is not None:
        # vLLM would have a step at work between two calls: weights would come while it computes with them, and
        # what it writes would be taken for the work of the new ones.
        extra["async_scheduling"] = False
    return extra


class VLLMEngine:
    """A vLLM engine driven step by step, so that finished responses leave it at once."""

    def __init__(self, options: EngineOptions) -> None:
        """Load the model and warm up, so that the first step of training is not slower."""
        prepare_environment(options)
        import torch
        from vllm import LLM

        from rlvr.rollout.held_weights import WorkerExtension  # which registers our transfer backend
        from rlvr.rollout.still_images import register_with_vllm

        register_with_vllm(options.model)
        if options.device == "cpu":
            torch.set_num_threads(options.threads)
        self._llm = LLM(
            model=options.model,
            dtype=options.dtype,
            # Never pickle, which would run code from the model's folder.
            load_format="safetensors",
            seed=options.seed,
            max_model_len=options.max_model_len,
            max_num_seqs=options.max_num_seqs,
            tensor_parallel_size=options.tensor_parallel_size,
            enforce_eager=options.enforce_eager,
            # Memory is set aside for as many as there can be, and none for what no prompt has.
            limit_mm_per_prompt={"image": options.max_images, "video": 0, "audio": 0},
            # Log-probabilities of the distribution that is sampled from, temperature included.
            logprobs_mode="processed_logprobs",
            worker_extension_cls=f"{WorkerExtension.__module__}.{WorkerExtension.__qualname__}",
            disable_log_stats=True,
            # Our defaults are explicit: a model folder must not change how we sample.
            generation_config="vllm",
            **further_arguments(options),
        )
        self._model, self._dtype = options.model, getattr(torch, options.dtype)
        self._engine = self._llm.llm_engine
        self._tokenizer = self._llm.get_tokenizer()
        self._counter = 0
        self._max_num_seqs = options.max_num_seqs
        self._cache_at_update = options.cache_at_update
        self._waiting = deque[SampleRequest]()
        """Handed over to :meth:`advance`, and not yet to vLLM."""
        self._in_hand = InHand()
        """What :meth:`advance` goes on with in its next call."""
        self._ended: list[Any] = []
        """Outputs of requests that ended while probes were scored."""
        self.commit_version(0)
        eos = self._tokenizer.eos_token_id
        self.probe([Probe([eos, eos], 1)])

    def generate(
        self, requests: Iterable[SampleRequest], settings: SamplingSettings
    ) -> Iterator[list[Answer]]:
        """Sample all requests; yield lists of ``(key, completions)`` as requests finish."""
        inbox: Inbox = SimpleQueue()
        for request in requests:
            inbox.put(request)
        inbox.put(None)
        for served in self.serve(inbox, settings):
            if served.answers:
                yield served.answers

    def serve(self, inbox: Inbox, settings: SamplingSettings) -> Iterator[Served]:
        """Sample what comes in, until None does; yield answers and free places as there are some."""
        hand = InHand()
        is_open = True
        while True:
            while is_open and self._has_room():
                try:
                    request = inbox.get(block=not hand.open)
                except Empty:
                    break
                if request is None:
                    is_open = False
                    continue
                self._take_in(hand, request, settings)
            if not hand.open:
                return
            finished = [output for output in self._engine.step() if output.finished]
            num_freed = self._num_freed(hand)
            if finished or (is_open and num_freed >= max(1, self._max_num_seqs // TOLD_SHARE)):
                yield self._served(hand, finished)

    def advance(
        self, requests: Sequence[SampleRequest], settings: SamplingSettings, seconds: float
    ) -> Served:
        """Take requests in, and sample for so long; what has not ended then goes on in the next call.

        Between two calls the engine is at rest: weights may come, and :meth:`probe` may score.
        """
        hand, until = self._in_hand, time.monotonic() + seconds
        self._waiting.extend(requests)
        ended, self._ended = self._ended, []
        while True:
            while self._waiting and self._has_room():
                self._take_in(hand, self._waiting.popleft(), settings)
            if len(ended) == len(hand.open) or time.monotonic() >= until:
                return self._served(hand, ended)
            ended += [output for output in self._engine.step() if output.finished]

    def _has_room(self) -> bool:
        """Whether vLLM may be handed another request.

        vLLM makes pixels of an image as soon as it is handed over, so those of all problems would fill the memory. What
        is handed over is as much again as is sampled, so that no place is ever left empty. A request whose last response
        is long counts as that one response, not as all that it asked for.
        """
        return bool(self._engine.get_num_unfinished_requests() < 2 * self._max_num_seqs)

    def _take_in(self, hand: InHand, request: SampleRequest, settings: SamplingSettings) -> None:
        self._counter += 1
        hand.open[str(self._counter)] = request
        self._add(str(self._counter), request, settings)
        hand.num_asked += request.num_samples

    def _num_freed(self, hand: InHand) -> int:
        """Samples that have ended and were not told of."""
        return int(hand.num_asked - self._engine.get_num_unfinished_requests() - hand.num_told)

    def _served(self, hand: InHand, ended: Sequence[Any]) -> Served:
        num_freed = self._num_freed(hand)
        hand.num_told += num_freed
        return Served(
            [self._completions(hand.open.pop(output.request_id), output) for output in ended], num_freed
        )

    def _add(self, request_id: str, request: SampleRequest, settings: SamplingSettings) -> None:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        params = SamplingParams(
            n=request.num_samples,
            temperature=0.0 if request.greedy else settings.temperature,
            top_p=settings.top_p,
            top_k=settings.top_k,
            max_tokens=settings.max_tokens,
            stop_token_ids=list(settings.stop_token_ids),
            # Each of the n samples adds its index.
            seed=None if settings.seed is None else derive_seed(settings.seed, request.key),
            logprobs=0 if settings.logprobs else None,
            flat_logprobs=settings.logprobs,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        prompt = prompt_of(request.prompt_tokens, request.images)
        if self._cache_at_update == "keep":
            # What older weights have computed of the same prompt stays in the cache, and is for them alone.
            prompt["cache_salt"] = str(self.version)
        self._engine.add_request(request_id, prompt, params)

    def _completions(self, request: SampleRequest, output: Any) -> tuple[int, list[Completion]]:
        samples = sorted(output.outputs, key=lambda sample: sample.index)
        texts = self._tokenizer.batch_decode(
            [sample.token_ids for sample in samples], skip_special_tokens=True
        )
        return request.key, [
            Completion(
                prompt_tokens=output.prompt_token_ids,
                response_tokens=list(sample.token_ids),
                logprobs=None if sample.logprobs is None else list(sample.logprobs.logprobs),
                text=text,
                finish_reason=sample.finish_reason,
                policy_version=versions[0][1],
                later_versions=versions[1:],
            )
            for sample, text in zip(samples, texts, strict=True)
            for versions in [self._versions(sample)]
        ]

    def _versions(self, sample: Any) -> tuple[tuple[int, int], ...]:
        """From which token on which version of the weights has written a response."""
        spans = sample.weight_versions or ()
        return tuple((span.start, int(span.version)) for span in spans) or ((0, self.version),)

    def probe(self, probes: Sequence[Probe]) -> list[ProbeScores]:
        """Log-probability, at temperature 1, of each probe's response tokens given the ones before.

        A probe has two tokens at least, and may be as long as prompt and response together.
        """
        from vllm import SamplingParams

        # vLLM samples a token after every prompt, and has no place for it after the longest sequences. So the last
        # token of a probe is not a part of the prompt, but the one whose log-probability is asked for after it.
        params = [
            SamplingParams(
                max_tokens=1,
                temperature=1.0,
                prompt_logprobs=0,
                logprob_token_ids=[probe.tokens[-1]],
                detokenize=False,
            )
            for probe in probes
        ]
        prompts = [prompt_of(probe.tokens[:-1], probe.images) for probe in probes]
        outputs = self._score(prompts, params)
        found = []
        for probe, output in zip(probes, outputs, strict=True):
            tokens = [*output.prompt_token_ids, probe.tokens[-1]]
            each = [*output.prompt_logprobs, *output.outputs[0].logprobs]
            start = len(tokens) - (len(probe.tokens) - probe.prompt_length)
            logprobs = [each[place][tokens[place]].logprob for place in range(start, len(tokens))]
            found.append(ProbeScores(tokens, logprobs))
        return found

    def _score(self, prompts: Sequence[dict[str, Any]], params: Sequence[Any]) -> list[Any]:
        """Outputs of prompts, in their order; what else is being sampled goes on, and is told of later."""
        outputs: dict[str, Any] = {}
        names = []
        for prompt, each in zip(prompts, params, strict=True):
            self._counter += 1
            names.append(str(self._counter))
            self._engine.add_request(names[-1], prompt, each)
        while len(outputs) < len(names):
            for output in self._engine.step():
                if output.finished and output.request_id in names:
                    outputs[output.request_id] = output
                elif output.finished:
                    self._ended.append(output)
        return [outputs[name] for name in names]

    def checksums(self, names: Sequence[str]) -> dict[str, list[Checksum | None]]:
        """Checksums of the learner's tensors as they are held here, all ranks together.

        For each of ``names`` those of all copies that the engine computes with; none if it is not found, and None
        for a copy of which ranks hold different numbers.
        """
        ranks = self._llm.collective_rpc("held_weights", args=(list(names),))
        return {name: whole(rank.get(name, ()) for rank in ranks) for name in names}

    def load(self, model: str) -> None:
        """Read another model's weights from its folder, and prove that they are held.

        The model differs from the one that the engine started with in its weights alone.

        Raises:
            WeightUpdateError: the engine holds something else, or still needs what the old weights computed.
        """
        before = file_checksums(self._model, self._dtype)
        known = comparable([self.checksums(list(before))], before)
        self._llm.collective_rpc("reload_weights", kwargs={"weights_path": model})
        self._forget_computed()
        after = file_checksums(model, self._dtype)
        held = self.checksums(list(known))
        wrong = sorted(name for name in known if set(held[name]) != {after.get(name)})
        if wrong or not known:
            raise WeightUpdateError(
                f"the engine read the weights of {model} and holds others: {len(wrong)} of {len(known)} tensors differ"
                + (f", the first is {wrong[0]}" if wrong else ""),
                where="rollout worker",
            )
        self._model = model

    # The four calls of vLLM's weight-transfer protocol, driven by the learner.

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """Hand the learner's announcement to the transfer backend, which gives up what it has of an earlier one."""
        self._llm.collective_rpc("shutdown_weight_transfer_engine")
        self._llm.init_weight_transfer_engine({"init_info": init_info})

    def start_weight_update(self) -> None:
        """Begin an update."""
        self._llm.start_weight_update()

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Receive one chunk."""
        self._llm.update_weights({"update_info": update_info})

    def finish_weight_update(self) -> None:
        """End an update; cached prefixes and images were computed with the old weights and are dropped.

        Raises:
            WeightUpdateError: they are still in use, and would be sampled from.
        """
        self._llm.finish_weight_update()
        self._forget_computed()

    def _forget_computed(self) -> None:
        # What the vision tower has made of an image is kept for later prompts with it.
        self._engine.reset_encoder_cache()
        if self._cache_at_update == "keep":
            return
        if self._cache_at_update == "recompute":
            # Responses that are being written wait, and their tokens so far are read by the new weights first.
            self._llm.reset_prefix_cache(reset_running_requests=True)
        elif not self._llm.reset_prefix_cache():
            raise WeightUpdateError(
                "prefixes that were computed with the old weights are still in use: a request has not ended",
                where="weight update, receiving engine",
                fix="the same command goes on from the last checkpoint; report it with `rlvr doctor --json`",
            )

    def commit_version(self, version: int) -> None:
        """Label what is sampled from now on; called once the weights are proved."""
        self._llm.update_weight_version(str(version))
        self.version = int(self._llm.get_weight_version())

    # Sharing a GPU with a learner.

    def sleep(self) -> None:
        """Move the weights to the host's memory and give up the KV cache."""
        self._llm.sleep(level=1)

    def wake_up(self, part: str) -> None:
        """Take the memory of a part back: ``weights``, or ``kv_cache``."""
        self._llm.wake_up([part])


def prompt_of(tokens: Sequence[int], images: Sequence[bytes]) -> dict[str, Any]:
    """A prompt as vLLM takes it."""
    prompt: dict[str, Any] = {"prompt_token_ids": list(tokens)}
    if images:
        prompt["multi_modal_data"] = {"image": [pixels(image) for image in images]}
    return prompt


def pixels(image: bytes) -> Any:
    """An encoded image as vLLM's server gives it to its engine: upright, in plain colours, on white where it is transparent."""
    from vllm.multimodal.media import ImageMediaIO

    return ImageMediaIO().load_bytes(image)
