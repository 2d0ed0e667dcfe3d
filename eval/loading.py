"""Evaluations from any number of folders, made the results of one report."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlvr.errors import ConfigError, DataError, did_you_mean
from rlvr.eval.discovery import (
    Store,
    evaluation_command,
    nothing_in,
    stores_in,
    stores_under,
    study_benchmarks,
)
from rlvr.eval.guess import refuse_other_guesses
from rlvr.eval.names import checkpoint_of, family_of
from rlvr.eval.results import TITLE, BenchmarkResults, Stage, StudyResults
from rlvr.eval.samples import read_samples
from rlvr.eval.store import Evaluation, load_evaluation, read_problems, refuse_unlike
from rlvr.eval.temperature import sweep_of
from rlvr.eval.unfinished import is_whole, runs_under, study_of, unfinished, waiting_runs
from rlvr.records import Problem
from rlvr.run_folder import (
    BASE,
    SAMPLES_FILE,
    SUMMARY_FILE,
    evaluation_seconds,
    read_config,
    read_json,
    read_metrics,
    read_provenance,
    run_dir_of,
    training_folder,
)

TRAINING_TITLE, TRAINED_TITLE = "Training so far", "Training"
Run = tuple[Path, str]
"""A training run, or a model that was only evaluated: the folder of its study or evaluate command, and its name there."""


def load_measured(folders: Sequence[str], benchmarks: Sequence[str] = ()) -> Sequence[BenchmarkResults]:
    """The benchmarks on which something was measured under some folders, one at least; arguments as for :func:`load_results`.

    Raises:
        ConfigError: no evaluation is finished, and the errors of :func:`load_results`.
        DataError: likewise.
    """
    found = load_results([Path(folder) for folder in folders], benchmarks).benchmarks
    if not found:
        raise nothing_in(Path(folders[0]))
    return found


def load_results(
    folders: Sequence[Path],
    benchmarks: Sequence[str] = (),
    *,
    models: Sequence[str] = (),
    out_of_domain: Collection[str] | None = None,
    guesses: Sequence[Path] = (),
    sweeps: Sequence[Path] = (),
) -> StudyResults:
    """Gather all evaluations, metrics and provenance under some folders.

    Args:
        folders: studies, multiruns, evaluations, or folders that hold such.
        benchmarks: names of those to keep, in their order after the in-domain one; all by default.
        models: names of those to keep, the base first, in their order; by default all, of which the base is the one called
            ``base`` or else the first that was named, and others in the order in which they were trained.
        out_of_domain: names of benchmarks whose problems are of another kind than those trained on; None takes those of the
            study's config.
        guesses: folders with evaluations of the base model that was asked to answer without reasoning.
        sweeps: folders with evaluations of the same models at other temperatures.

    Raises:
        ConfigError: no evaluation, an unknown benchmark, different base models, or base
            models measured differently.
        DataError: an evaluation is damaged, or a model was not measured on a benchmark that another one was.
    """
    there = [store for folder in folders for store in stores_under(folder)]
    there = list({store.folder.resolve(): store for store in there}.values())
    to_come = unfinished(folders, there)
    stores = [store for store in there if is_whole(store)]
    training = [training_run(run) for run in waiting_runs(folders, there)]
    for folder in folders:
        if not (stores_under(folder) or runs_under([folder])):
            raise nothing_in(folder)
    chosen_stores = chosen(stores, benchmarks, there)
    base, others = named(chosen_stores, models) if models else one_base(chosen_stores)
    base, others = with_nothing_to_come(base, others, to_come)
    names = run_names([*map(run_of, others), *training], taken=base[0].name if base else BASE)
    provenance = {run: read_provenance(training_folder(*run)) for run in names}
    # As they are named, or else were trained, which is the order in which their study lists them; what is being trained
    # comes last.
    order = sorted(
        names, key=lambda run: (not provenance[run], "" if models else str(provenance[run].get("date", "")))
    )
    others = [
        replace(store, name=new_name(store, names))
        for run in order
        for store in others
        if run_of(store) == run
    ]
    of_study = (
        study_benchmarks(store.run_dir for store in stores)
        if out_of_domain is None
        else {store.spec.benchmark: store.spec.benchmark in out_of_domain for store in stores}
    )
    measured = with_guesses(
        by_benchmark(base, others, of_study), [store for folder in guesses for store in stores_in(folder)]
    )
    return StudyResults(
        with_sweeps(measured, [store for folder in sweeps for store in stores_in(folder)]),
        metrics={names[run]: rows for run in order if (rows := read_metrics(training_folder(*run)))},
        configs={
            names[run]: config
            for run in order
            if (provenance[run] or run in training) and (config := read_config(training_folder(*run)))
        },
        unfinished=to_come,
        title=TITLE if base else TRAINING_TITLE if to_come else TRAINED_TITLE,
        provenance={
            "wall_seconds": wall_seconds(provenance.values(), (*base, *others)),
            "runs": {names[run]: provenance[run] for run in order if provenance[run]},
        },
    )


def wall_seconds(trained: Iterable[Mapping[str, Any]], measured: Iterable[Store]) -> dict[str, float]:
    """Of all trainings and all evaluations."""
    seconds = {
        "train": sum(float(each.get("wall_seconds", 0)) for each in trained),
        "evaluate": sum(evaluation_seconds(store.folder) for store in measured),
    }
    return {name: round(value, 1) for name, value in seconds.items()}


def training_run(folder: Path) -> Run:
    """The run that was trained in a folder."""
    return study_of(folder) or folder, folder.name


def with_nothing_to_come(
    base: Sequence[Store], others: Sequence[Store], to_come: Sequence[Stage]
) -> tuple[list[Store], list[Store]]:
    """What can be compared already: benchmarks that the base is measured on, and models that are measured on all of them.

    A model is left out only while something of it is still to come; what nobody plans to measure is a mistake, which
    :func:`by_benchmark` names.
    """
    if not to_come:
        return list(base), list(others)
    benchmarks = {store.spec.benchmark for store in base}
    others = [store for store in others if store.spec.benchmark in benchmarks]
    measured = {(store.run_dir, store.name, store.spec.benchmark) for store in others}
    waiting = {
        (store.run_dir, store.name)
        for store in others
        if any((store.run_dir, store.name, each) not in measured for each in benchmarks)
    }
    run_dirs = {stage.where for stage in to_come}
    return list(base), [
        store
        for store in others
        if (store.run_dir, store.name) not in waiting
        or not any(run_dir_of(place) == store.run_dir for place in run_dirs)
    ]


def chosen(stores: Sequence[Store], wanted: Sequence[str], half_done: Sequence[Store] = ()) -> list[Store]:
    """The evaluations on the benchmarks asked for, of which there must be some, if only among those half done."""
    there = {store.spec.benchmark for store in (*stores, *half_done)}
    for name in wanted:
        if name not in there:
            raise ConfigError(
                f"no evaluation on {name!r} was found", where="benchmarks", fix=did_you_mean(name, there)
            )
    if not wanted:
        return list(stores)
    kept = [store for store in stores if store.spec.benchmark in wanted]
    return sorted(kept, key=lambda store: wanted.index(store.spec.benchmark))


def named(stores: Sequence[Store], models: Sequence[str]) -> tuple[list[Store], list[Store]]:
    """The evaluations of the first of these models, and those of the others in their order."""
    found = [[store for store in stores if store.name == name] for name in models]
    return found[0], [store for each in found[1:] for store in each]


def one_base(stores: Sequence[Store]) -> tuple[list[Store], list[Store]]:
    """The base on each benchmark, once, and all other evaluations.

    The base is the model called ``base``, or else the first that was named. The same weights under
    another name, or measured again by another run, are dropped.
    """
    if not stores:
        return [], []
    first = next((store for store in stores if store.name == BASE), None) or first_named(stores)
    base: dict[str, Store] = {}
    others = []
    for store in stores:
        same = store.spec.model_sha256 == first.spec.model_sha256
        if store.name == BASE and not same:
            raise ConfigError(
                f"the runs start from different base models: {first.spec.model_path} and {store.spec.model_path}",
                where=f"{first.folder} and {store.folder}",
                fix="compare runs of one base model with one another",
            )
        if not same:
            others.append(store)
        elif (kept := base.setdefault(store.spec.benchmark, store)) is not store:
            refuse_unlike(kept.spec, store.spec, f"{kept.folder} and {store.folder}")
    return [replace(store, name=first.name) for store in base.values()], others


def first_named(stores: Sequence[Store]) -> Store:
    """An evaluation of the model that was named first where the first of these lies, by the report there; without one the first."""
    place = stores[0].run_dir
    there = read_json(place / SUMMARY_FILE) if (place / SUMMARY_FILE).is_file() else {}
    name = next(iter(there.get("models", {})), None)
    return next((store for store in stores if (store.run_dir, store.name) == (place, name)), stores[0])


def run_of(store: Store) -> Run:
    """The run that a model belongs to: a checkpoint to that of its final model."""
    found = checkpoint_of(store.name)
    return store.run_dir, found[0] if found else store.name


def run_names(stored: Sequence[Run], taken: str) -> dict[Run, str]:
    """The runs' names in the report: their own, followed by their folder's where it would not be the only one.

    Runs of one family from several seeds, of one study, stay together: where another folder has a run of that
    family, all of them are followed by their folder's.

    Args:
        stored: of all models but the base, some of them more than once.
        taken: the base's name.
    """
    runs = list(dict.fromkeys(stored))
    run_dirs = shortest_endings({run_dir for run_dir, _ in runs})
    families = [taken, *(family for _, family in {(run_dir, family_of(name)) for run_dir, name in runs})]
    return {
        (run_dir, name): f"{name} ({run_dirs[run_dir]})" if families.count(family_of(name)) > 1 else name
        for run_dir, name in runs
    }


def new_name(store: Store, names: Mapping[Run, str]) -> str:
    """A model's name in the report."""
    run, found = names[run_of(store)], checkpoint_of(store.name)
    return f"{run}-step{found[1]}" if found else run


def shortest_endings(paths: Iterable[Path]) -> dict[Path, str]:
    """As many of the paths' last parts as tell all of them apart."""
    parts = {path: path.resolve().parts for path in paths}
    count = 1
    while len({each[-count:] for each in parts.values()}) < len(parts):
        count += 1
    return {path: "/".join(each[-count:]) for path, each in parts.items()}


def by_benchmark(
    base: Sequence[Store], others: Sequence[Store], of_study: Mapping[str, bool]
) -> list[BenchmarkResults]:
    """All models on every benchmark, the in-domain one first.

    Args:
        base: evaluations of the base.
        others: those of the other models.
        of_study: whether each benchmark of the study is out of domain; what is no benchmark of it is, too.

    Raises:
        DataError: a model lacks a benchmark that another one has, or samples of it.
    """
    found = {(store.name, store.spec.benchmark): store for store in (*base, *others)}
    models = list(dict.fromkeys(name for name, _ in found))
    benchmarks = list(dict.fromkeys(benchmark for _, benchmark in found))
    outside = set(benchmarks) - {name for name, is_outside in of_study.items() if not is_outside}
    if outside == set(
        benchmarks
    ):  # of no study, or none of its own: nothing says what the models were trained on
        outside = {name for name in benchmarks if of_study.get(name)}
    benchmarks.sort(key=lambda benchmark: benchmark in outside)
    for benchmark in benchmarks:
        for model in models:
            if (model, benchmark) not in found:
                raise not_measured(
                    model, benchmark, next(s for (name, _), s in found.items() if name == model)
                )
    return [
        results([found[model, benchmark] for model in models], out_of_domain=benchmark in outside)
        for benchmark in benchmarks
    ]


def with_guesses(results: Sequence[BenchmarkResults], stores: Sequence[Store]) -> list[BenchmarkResults]:
    """Give each benchmark the base's guesses on it, where there are some.

    Raises:
        ConfigError: guesses on a benchmark that is not in the report, or not the base's own.
    """
    found = {store.spec.benchmark: store for store in stores}
    known = {each.name for each in results}
    for name, store in found.items():
        if name not in known:
            raise ConfigError(
                f"these guesses are on {name!r}, which is not in the report",
                where=str(store.folder),
                fix=did_you_mean(name, known),
            )
    with_them = []
    for each in results:
        if each.name in found:
            base = each.evaluations[0]
            guesses = load(found[each.name], base.problem_ids)
            refuse_other_guesses(base, guesses)
            each = replace(each, guesses=guesses)
        with_them.append(each)
    return with_them


def with_sweeps(results: Sequence[BenchmarkResults], stores: Sequence[Store]) -> list[BenchmarkResults]:
    """Give each benchmark the evaluations on it at other temperatures.

    Raises:
        ConfigError: more than the temperature differs, or a model is not in the report.
    """
    with_them = []
    for each in results:
        ids = each.evaluations[0].problem_ids
        others = [load(store, ids) for store in stores if store.spec.benchmark == each.name]
        with_them.append(replace(each, sweep=sweep_of(each.evaluations, others)))
    return with_them


def not_measured(model: str, benchmark: str, store: Store) -> DataError:
    """The error for a model that lacks a benchmark; ``store`` is its evaluation on another one."""
    return DataError(
        f"{model!r} has not been evaluated on {benchmark!r}",
        where=str(store.run_dir),
        fix=f"evaluate it there too, or leave that benchmark out: benchmarks={store.spec.benchmark}",
    )


def results(stores: Sequence[Store], out_of_domain: bool) -> BenchmarkResults:
    """All models on one benchmark, read from disk."""
    problems = problems_of(stores)
    ids = [problem.id for problem in problems]
    return BenchmarkResults(
        [load(store, ids) for store in stores], [each for each in problems if each.prompt], out_of_domain
    )


def problems_of(stores: Sequence[Store]) -> list[Problem]:
    """The problems of a benchmark in its order.

    Evaluations of earlier versions do not hold them: then ids are sorted, and prompts are empty.
    """
    for store in stores:
        if problems := read_problems(store.folder):
            return problems
    ids = {row.problem for store in stores for row in read_samples(store.folder / SAMPLES_FILE)}
    return [Problem(problem_id, (), "", "") for problem_id in sorted(ids, key=numbers_in_order)]


def numbers_in_order(problem_id: str) -> list[tuple[bool, int, str]]:
    """Sort key under which ``chains/test/9`` comes before ``chains/test/10``."""
    parts = problem_id.split("/")
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


def load(store: Store, problem_ids: Sequence[str]) -> Evaluation:
    """A finished evaluation under its name in the report."""
    try:
        evaluation = load_evaluation(store.folder, problem_ids)
    except DataError as error:
        raise DataError(error.what, where=str(store.folder), fix=evaluation_command(store)) from error
    return replace(evaluation, spec=replace(evaluation.spec, model_name=store.name))
