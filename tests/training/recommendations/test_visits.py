"""A shop that is browsed: what its visitors look at next is learnt, measured and served."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from configs.settings import Settings
from features.contracts.errors import BadInput, TooLittleData
from features.contracts.recommendations import Reason, RecommendationQuery
from features.contracts.visits import CARTED, NO_VISIT, VIEWED, Visit
from features.facts.facts import Facts
from features.online.histories import compute_offline_items
from models.ranking.catalogue import Catalogue
from models.ranking.lambdarank import GroupedRows, RankerConfig, fit_ranker
from models.ranking.model import RecommendationModel
from models.ranking.placement import Placement
from models.ranking.recommender import Recommender
from models.ranking.session_columns import ITEM_COLUMNS, SESSION_COLUMNS
from models.ranking.visit_candidates import VisitCandidates, name_visit_columns
from models.retrieval.visit_sources import SOURCES
from tests.shops.browsed_shop import (
    CONFIG,
    END,
    ITEM_IDS,
    N_CHAINS,
    make_catalogue,
    make_looks,
    make_visits,
)
from tests.shops.event_tables import make_table
from training.recommendations.config import VisitsConfig
from training.recommendations.snapshots import TrainingContext
from training.recommendations.task import evaluate, train
from training.recommendations.visit_ablation import WindowCandidates
from training.recommendations.visit_baselines import (
    ASSOCIATION_RULES,
    DEPTH,
    ITEM_KNN,
    POPULARITY,
    SESSION_KNN,
    Position,
    fit_association_rules,
    rank_targets,
)
from training.recommendations.visit_evaluation import (
    HIT_RATE,
    MRR,
    find_failed_bars,
    make_history,
)
from training.recommendations.visit_part import SESSIONS
from training.recommendations.visit_training import NextItem, draw_next_items, read_visits
from training.results import Comparison, Trained


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    facts = Facts(Settings(home=tmp_path_factory.mktemp("browsed")))
    facts.write({"events": make_table("events", make_looks(900)), "items": make_catalogue()})
    return facts


@pytest.fixture(scope="module")
def trained(facts: Facts) -> Trained[RecommendationModel]:
    settings = Settings(home=Path("unused"))
    return train(facts, settings, CONFIG, until=None, progress=lambda _: None)


@pytest.fixture(scope="module")
def recommender(facts: Facts, trained: Trained[RecommendationModel]) -> Recommender:
    items = compute_offline_items(facts, END)
    placements = {"home": Placement("all"), "discover": Placement("new")}
    return Recommender(trained.served, items, placements)


def look(*items: int) -> Visit:
    """Return a visit of these items, the latest last, ten seconds apart."""
    ids = tuple(ITEM_IDS[item] for item in items[::-1])
    at_ms = tuple(1_000_000 - 10_000 * n for n in range(len(items)))
    return Visit(ids, (VIEWED,) * len(items), at_ms)


def ask(recommender: Recommender, visit: Visit, **changes: object) -> RecommendationQuery:
    return replace(RecommendationQuery(make_history(visit), "home", 10), **changes)


def test_the_next_items_of_visits_are_evaluated_beside_tuned_baselines(
    trained: Trained[RecommendationModel],
) -> None:
    comparison = trained.evaluation.comparison(MRR)
    assert comparison.ours > max(comparison.baselines.values())
    for name in (SESSION_KNN, ASSOCIATION_RULES, ITEM_KNN, POPULARITY):
        assert comparison.p_values[name] < 0.01
    hits = trained.evaluation.comparison(HIT_RATE)
    assert hits.ours > max(hits.baselines[POPULARITY], hits.baselines[ITEM_KNN])
    table = trained.evaluation.table("next item of a visit: MRR@20 by part")
    assert table.n_users[0] == sum(table.n_users[1:5]) == 400
    assert trained.served.policies["visit"] == "ranker"


def test_a_stranger_sees_what_comes_next_on_the_chain(recommender: Recommender) -> None:
    (slate,) = recommender.recommend([ask(recommender, look(7))])
    ids = [item.item_id for item in slate.items]
    assert slate.fallback is None
    assert ITEM_IDS[7 + N_CHAINS] in ids[:2]
    by_id = {item.item_id: item for item in slate.items}
    following = by_id[ITEM_IDS[7 + N_CHAINS]]
    assert (following.reason, following.because_item_id) == (
        Reason.BECAUSE_YOU_VIEWED,
        ITEM_IDS[7],
    )
    (new,) = recommender.recommend([ask(recommender, look(7, 40), placement="discover")])
    assert ITEM_IDS[40 + N_CHAINS] in [item.item_id for item in new.items][:3]


def test_the_contributions_of_a_visit_add_up_to_differences_of_scores(
    recommender: Recommender,
) -> None:
    (slate,) = recommender.recommend([ask(recommender, look(7, 19), explain=True)])
    first, last = slate.items[0], slate.items[-1]
    assert first.contributions is not None and last.contributions is not None
    assert any(name.startswith(tuple(SOURCES)) for name in first.contributions)
    difference = sum(first.contributions.values()) - sum(last.contributions.values())
    assert difference == pytest.approx(first.score - last.score, abs=1e-3)


def test_a_search_result_is_ordered_by_the_visit(recommender: Recommender) -> None:
    following = ITEM_IDS[7 + N_CHAINS]
    given = (*ITEM_IDS[30:36], following)
    (slate,) = recommender.recommend([ask(recommender, look(7), candidate_ids=given)])
    assert slate.items[0].item_id == following


def test_a_visit_of_unknown_items_and_no_visit_get_popular_items(recommender: Recommender) -> None:
    unknown = Visit(("nobody knows it",), (VIEWED,), (1_000,))
    for visit in (unknown, NO_VISIT):
        history = make_history(unknown) if visit is unknown else None
        query = ask(recommender, unknown)
        if history is None:
            query = replace(query, history=replace(query.history, visit=NO_VISIT))
        (slate,) = recommender.recommend([query])
        assert slate.fallback == "popular"
        assert len(slate.items) == 10


def test_a_saved_model_answers_alike(
    recommender: Recommender, trained: Trained[RecommendationModel], tmp_path: Path
) -> None:
    trained.served.save(tmp_path)
    loaded = Recommender(
        RecommendationModel.load(tmp_path), recommender.items, recommender.placements
    )
    queries = [ask(recommender, look(*items)) for items in ((7,), (3, 40, 3), (59, 58, 57))]
    assert recommender.recommend(queries) == loaded.recommend(queries)


def test_a_model_of_an_older_version_sees_the_columns_that_it_learnt(
    trained: Trained[RecommendationModel], recommender: Recommender, tmp_path: Path
) -> None:
    sources = trained.served.visit_sources
    assert sources is not None
    columns = name_visit_columns(
        tuple(sources.sources), trained.served.item_columns, with_session=False
    )
    matrix = np.random.default_rng(2).random((400, len(columns)), np.float32)
    rows = GroupedRows(matrix, matrix[:, 0] > 0.8, np.full(40, 10), columns)
    rankers = {"visit": fit_ranker(rows, RankerConfig(n_trees=5), seed=1)}
    older = replace(trained.served, rankers=rankers, visit_timezone=None)
    older.save(tmp_path)
    meta = json.loads((tmp_path / "model.json").read_text())
    del meta["visit_timezone"]
    (tmp_path / "model.json").write_text(json.dumps(meta))

    loaded = RecommendationModel.load(tmp_path)
    served = Recommender(loaded, recommender.items, recommender.placements)
    (slate,) = served.recommend([ask(recommender, look(7, 19), explain=True)])
    assert slate.fallback is None
    contributions = slate.items[0].contributions
    assert contributions is not None
    assert contributions.keys().isdisjoint((*ITEM_COLUMNS, *SESSION_COLUMNS))
    assert {*ITEM_COLUMNS, *SESSION_COLUMNS} <= set(trained.served.rankers["visit"].columns)


def test_the_gate_measures_visits_of_any_model(
    trained: Trained[RecommendationModel], tmp_path: Path
) -> None:
    ours = trained.measure(None)["visits"]
    assert ours.value == pytest.approx(trained.evaluation.comparison(MRR).ours)
    before = replace(
        trained.evaluated,
        visit_sources=None,
        rankers={},
        policies={"all": "buy_again", "new": "buy_again", "cart": "association"},
    )
    before.save(tmp_path)
    assert trained.measure(tmp_path)["visits"].value < ours.value


def test_the_protocol_of_sessions_evaluates_visits_alone(facts: Facts) -> None:
    settings = Settings(home=Path("unused"))
    evaluation = evaluate(
        facts, settings, CONFIG, until=None, split=SESSIONS, progress=lambda _: None
    )
    assert evaluation.primary == MRR
    assert {comparison.metric for comparison in evaluation.comparisons} == {MRR, HIT_RATE}
    assert evaluation.passed


def test_each_source_of_visits_is_left_out_in_turn_and_timed(
    trained: Trained[RecommendationModel],
) -> None:
    evaluation = trained.evaluation
    table = evaluation.table("next item of a visit: gain by source")
    ours, *without = table.rows
    assert without == [f"without {name}" for name in CONFIG.visits.sources.candidates]
    times = {name: cells[2].value for name, cells in table.rows.items()}
    assert times[ours] == pytest.approx(sum(times[name] for name in without))
    assert all(time > 0 for time in times.values())
    for name in without:
        left, gain, _, _ = table.rows[name]
        assert gain.value == pytest.approx(table.rows[ours][0].value - left.value)
        assert gain.low is not None and gain.high is not None
        assert gain.low <= gain.value <= gain.high
    # The chain is what there is to know: no other source makes up for the two that follow it.
    assert table.rows["without recent_views"][1].value == pytest.approx(0.0, abs=0.02)


def test_without_a_source_its_candidates_are_gone_and_equal_scores_keep_their_order() -> None:
    class FirstColumn:
        """Scores by the first column."""

        def score(self, matrix: np.ndarray) -> np.ndarray:
            return matrix[:, 0].astype(np.float64)

    rows = [  # score, by the first source, by the second, without any, the next item; by position
        [(2, 1, 0, 0, 0), (1, 1, 1, 0, 0), (1, 1, 1, 0, 1), (0, 0, 1, 0, 0)],
        [(5, 1, 0, 0, 0)],  # the next item is no candidate
        [],  # the sources know nothing that was viewed
        [(3, 1, 0, 0, 0), (1, 0, 0, 1, 1)],
    ]
    table = np.array([row for position in rows for row in position], np.float32)
    candidates = WindowCandidates(
        matrix=table[:, :1],
        proposed=table[:, 1:3] > 0,
        always=table[:, 3] > 0,
        is_target=table[:, 4] > 0,
        sizes=np.array([len(position) for position in rows]),
    )
    column = np.array([0])
    ranks = candidates.rank(FirstColumn(), np.array([0, 1]), column)  # type: ignore[arg-type]
    assert ranks.tolist() == [3, DEPTH + 1, DEPTH + 1, 2]
    ranks = candidates.rank(FirstColumn(), np.array([1]), column)  # type: ignore[arg-type]
    assert ranks.tolist() == [2, DEPTH + 1, DEPTH + 1, 1]


def test_a_source_whose_removal_costs_nothing_leaves_the_model_and_the_run_says_why(
    facts: Facts,
) -> None:
    # The same rules twice: either of them can go, both cannot.
    twins = replace(
        CONFIG.visits.sources,
        candidates={"sequential_rules": 60, "next_views": 60, "recent_views": 10},
        next_views=CONFIG.visits.sources.sequential_rules,
    )
    visits = replace(CONFIG.visits, sources=twins, max_loss=0.03)
    settings = Settings(home=Path("unused"))

    def fit(max_loss: float | None) -> Trained[RecommendationModel]:
        config = replace(CONFIG, visits=replace(visits, max_loss=max_loss))
        return train(facts, settings, config, until=None, progress=lambda _: None)

    chosen = fit(0.03)
    assert chosen.served.visit_sources is not None and chosen.evaluated.visit_sources is not None
    served = set(chosen.served.visit_sources.sources)
    assert served == set(chosen.evaluated.visit_sources.sources)
    assert len(served & {"sequential_rules", "next_views"}) == 1
    choices = chosen.evaluation.choices
    assert set(choices["visit_sources"].split(", ")) == served
    (gone,) = {"sequential_rules", "next_views"} - served
    assert f"{gone} left out, gains" in choices["visit_sources_why"]
    table = chosen.evaluation.table("next item of a visit: gain by source")
    assert table.rows[f"without {gone}"][3].value == 0
    # What is reported is measured on the slates of the sources that are left.
    measured = chosen.measure(None)["visits"].value
    assert chosen.evaluation.comparison(MRR).ours == pytest.approx(measured)

    everything = fit(None).served
    assert everything.visit_sources is not None
    assert set(everything.visit_sources.sources) == set(twins.candidates)


def test_too_few_visits_are_named(facts: Facts) -> None:
    few = replace(CONFIG, visits=VisitsConfig(min_visits=100_000))
    settings = Settings(home=Path("unused"))
    with pytest.raises(TooLittleData, match="100000 before the cut"):
        evaluate(facts, settings, few, until=None, split=SESSIONS, progress=lambda _: None)
    without = train(facts, settings, few, until=None, refit=False, progress=lambda _: None)
    assert without.served.visit_sources is None


def test_what_happens_after_the_cut_changes_nothing_that_is_fitted(tmp_path: Path) -> None:
    looks = make_looks(600)
    facts = Facts(Settings(home=tmp_path))
    facts.write({"events": make_table("events", looks), "items": make_catalogue()})
    settings = Settings(home=tmp_path)

    def fit(until_days: float) -> RecommendationModel:
        until = END - timedelta(days=until_days)
        return train(
            facts, settings, CONFIG, until=until, refit=False, progress=lambda _: None
        ).served

    before = fit(2.0)
    changed = [
        row | {"item_id": ITEM_IDS[0]}
        for row in looks
        if row["occurred_at"] >= END - timedelta(days=2)
    ]
    facts.write({"events": make_table("events", changed)})
    after = fit(2.0)
    assert before.visit_sources is not None and after.visit_sources is not None
    for name, source in before.visit_sources.sources.items():
        scores = after.visit_sources.sources[name].score(np.array([7]))
        np.testing.assert_array_equal(source.score(np.array([7])), scores)


def test_a_cart_of_the_item_on_the_page_is_no_next_item() -> None:
    visits = make_visits([[0, 0, 1, 0]])
    visits.kinds[[1, 3]] = CARTED
    # The second look is the first put into the cart, so is the last.
    assert draw_next_items(visits, 9, 0, "test") == [NextItem(0, 2)]


def test_association_rules_count_the_looks_that_fell_into_one_visit() -> None:
    rules = fit_association_rules(make_visits([[0, 1, 0], [1, 2]], n_items=3))
    # Item 0 met item 1 twice, and itself from both sides.
    assert rules.score(np.array([0])).tolist() == [2, 2, 0]


def test_ranks_count_equal_scores_in_the_order_of_items() -> None:
    scores = np.array([0.5, 0.9, 0.5, 0.0], np.float32)
    positions = [Position(np.array([0]), target) for target in range(4)]
    assert rank_targets(lambda _: scores, positions).tolist() == [2, 1, 3, 4]


def test_visits_of_one_instant_teach_nothing_and_stop_nothing(tmp_path: Path) -> None:
    noon = END - timedelta(hours=12)
    looks = [
        row | {"occurred_at": noon - timedelta(days=int(row["event_id"].split()[1]) % 2)}
        for row in make_looks(500)
    ]
    facts = Facts(Settings(home=tmp_path))
    facts.write({"events": make_table("events", looks), "items": make_catalogue()})
    trained = train(facts, Settings(home=tmp_path), CONFIG, until=None, progress=lambda _: None)
    assert trained.evaluated.visit_sources is None


def test_a_robot_is_not_learnt_from(tmp_path: Path) -> None:
    robot = [
        {
            "event_id": f"robot {n}",
            "event_type": "view_item",
            "occurred_at": END - timedelta(days=3, seconds=-n),
            "session_id": "robot",
            "item_id": ITEM_IDS[n % len(ITEM_IDS)],
        }
        for n in range(201)
    ]
    crawled = Facts(Settings(home=tmp_path))
    crawled.write({"events": make_table("events", make_looks(50) + robot)})
    context = TrainingContext(crawled, Settings(home=tmp_path), CONFIG, lambda _: None)
    visits = read_visits(context, END)
    assert len(visits) == 50
    assert visits.lengths.max() <= 200


def test_shares_that_leave_nothing_to_learn_are_refused() -> None:
    for share in (0.0, 1.0):
        with pytest.raises(BadInput, match="share_learnt"):
            VisitsConfig(share_learnt=share)
    with pytest.raises(BadInput, match="max_loss"):
        VisitsConfig(max_loss=1.5)


def test_an_arm_of_an_experiment_that_ranks_by_rule_gets_no_ranking_of_visits(
    recommender: Recommender,
) -> None:
    query = ask(recommender, look(7))
    (ranked,), (by_rule,) = (
        recommender.recommend([query]),
        recommender.recommend([query], policy="buy_again"),
    )
    assert [item.item_id for item in ranked.items] != [item.item_id for item in by_rule.items]


def test_an_item_of_a_list_scores_alike_whatever_else_is_in_it(recommender: Recommender) -> None:
    def score(*given: str) -> float:
        (slate,) = recommender.recommend([ask(recommender, look(7), candidate_ids=given)])
        return next(item.score for item in slate.items if item.item_id == ITEM_IDS[31])

    assert score(ITEM_IDS[31], ITEM_IDS[7 + N_CHAINS]) == score(ITEM_IDS[31], *ITEM_IDS[40:48])


def test_an_item_without_a_category_shares_none(
    facts: Facts, trained: Trained[RecommendationModel]
) -> None:
    model = trained.served
    assert model.visit_sources is not None
    catalogue = Catalogue(compute_offline_items(facts, END), model.item_columns)
    candidates = VisitCandidates(catalogue, model.visit_sources, timezone=model.visit_timezone)
    bound = candidates.bind(look(7))
    assert bound is not None
    matrix = candidates.make_columns(bound, np.arange(catalogue.n_items))
    names = name_visit_columns(
        tuple(model.visit_sources.sources), model.item_columns, with_session=True
    )
    for name in ("category_1_share", "category_3_is_last"):
        assert np.isnan(matrix[:, names.index(name)]).all()


@pytest.mark.parametrize(
    ("ours", "p_value", "fails"), [(0.3, 0.01, 1), (0.3, 0.2, 0), (0.5, 0.01, 0)]
)
def test_sessions_are_not_passed_where_what_serves_is_measurably_behind(
    ours: float, p_value: float, fails: int
) -> None:
    comparison = Comparison(
        metric=MRR,
        ours=ours,
        baselines={SESSION_KNN: 0.4, POPULARITY: 0.1},
        better="higher",
        strongest=SESSION_KNN,
        p_values={SESSION_KNN: p_value, POPULARITY: 0.001},
    )
    assert len(find_failed_bars(comparison)) == fails


def test_next_items_that_nobody_knew_before_the_cut_are_counted(tmp_path: Path) -> None:
    looks = make_looks(500)
    last = looks[-1] | {"event_id": "new", "item_id": "just come"}
    last["occurred_at"] += timedelta(seconds=20)
    facts = Facts(Settings(home=tmp_path))
    facts.write({"events": make_table("events", [*looks, last]), "items": make_catalogue()})
    evaluation = evaluate(
        facts,
        Settings(home=tmp_path),
        replace(CONFIG, visits=replace(CONFIG.visits, max_evaluated=10_000)),
        until=None,
        split=SESSIONS,
        progress=lambda _: None,
    )
    assert evaluation.data["next items left out, unknown before the cut"] == 1
