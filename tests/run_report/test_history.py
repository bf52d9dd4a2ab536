"""Metrics of a run as series, whatever happened to the run."""

from scan42_jax.run_report.history import read_history


def test_series_end_at_the_step_and_later_lines_win(tmp_path):
  (tmp_path / "metrics.jsonl").write_text(
    '{"step": 2, "loss": 3.0}\n'
    '{"step": 4, "loss": 2.0, "koleo": null}\n'
    '{"step": 4, "held_out/knn_auroc": 0.5}\n'
    '{"step": 4, "loss": 1.5, "koleo": 0.25}\n'
    '{"step": 6, "loss": 1.0}\n'
    '{"step": 8, "lo'
  )
  assert read_history(tmp_path, last_step=5) == {
    "loss": [(2, 3.0), (4, 1.5)],
    "koleo": [(4, 0.25)],
    "held_out/knn_auroc": [(4, 0.5)],
  }


def test_no_metrics_no_history(tmp_path):
  assert read_history(tmp_path, last_step=5) == {}
