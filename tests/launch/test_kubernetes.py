"""Manifests of Kubernetes: structure, and strings that stay strings."""

import pytest
import yaml

from launch import kubernetes
from launch.description import Hardware, pretraining

ONE = Hardware(chip="h100", chips=8, cpus=96, memory_gb=900)
FOUR = Hardware(chip="v5e", chips=4, hosts=4)


def _manifests(hardware, **kwargs):
  options = {"volumes": ["claim:/w"], "node_labels": ["pool=a"]} | kwargs
  jobs = pretraining(
    "c.py",
    "/w/1",
    "/w/d",
    name="run",
    hardware=hardware,
    overrides=["config.x=$(HOME): {a: 'b'}"],
    sweep=options.pop("sweep", ()),
  )
  wanted = kubernetes.manifests(jobs, "registry/image:1", **options)
  # What the cluster reads is what was meant.
  assert list(yaml.safe_load_all(kubernetes.as_yaml(wanted))) == wanted
  return wanted


def _pod(job):
  return job["spec"]["template"]["spec"]


def test_one_host_is_a_job():
  [job] = _manifests(ONE)
  assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
  pod = _pod(job)
  [container] = pod["containers"]
  assert container["resources"]["limits"] == {
    "cpu": "96",
    "memory": "900Gi",
    "nvidia.com/gpu": "8",
  }
  assert container["volumeMounts"] == [{"name": "claim", "mountPath": "/w"}]
  assert pod["nodeSelector"] == {"pool": "a"}
  # Policies for failed pods need it.
  assert pod["restartPolicy"] == "Never"
  assert "serviceAccountName" not in pod
  assert "--distributed" not in container["command"]


def test_variables_are_not_expanded():
  command = _pod(_manifests(ONE)[0])["containers"][0]["command"]
  assert command[:3] == ["python", "-m", "scan42_jax.main"]
  assert command[-1] == "--config.x=$$(HOME): {a: 'b'}"


def test_several_hosts_are_a_job_set_that_may_look_at_its_pods():
  account, role, binding, job_set = _manifests(FOUR)
  assert job_set["kind"] == "JobSet"
  [replicated] = job_set["spec"]["replicatedJobs"]
  spec = replicated["template"]["spec"]
  # JAX takes the number of processes from one, the rank from the index.
  assert replicated["replicas"] == 1
  assert spec["parallelism"] == spec["completions"] == 4
  assert spec["completionMode"] == "Indexed"
  pod = spec["template"]["spec"]
  [container] = pod["containers"]
  assert "--distributed" in container["command"]
  assert container["resources"]["limits"]["google.com/tpu"] == "4"
  name = account["metadata"]["name"]
  assert pod["serviceAccountName"] == name
  assert binding["subjects"] == [{"kind": "ServiceAccount", "name": name}]
  assert binding["roleRef"]["name"] == role["metadata"]["name"]
  verbs = {verb for rule in role["rules"] for verb in rule["verbs"]}
  assert verbs == {"get", "list"}


def test_codes_decide_what_happens_to_a_pod():
  rules = _manifests(ONE)[0]["spec"]["podFailurePolicy"]["rules"]
  actions = {
    code: rule["action"]
    for rule in rules
    for code in rule.get("onExitCodes", {"values": []})["values"]
  }
  assert actions == {1: "FailJob", 143: "Ignore"}


def test_a_sweep_has_an_object_for_each_run():
  jobs = _manifests(ONE, sweep=[["config.seed=0"], ["config.seed=1"]])
  assert [job["metadata"]["name"] for job in jobs] == ["run-00", "run-01"]


@pytest.mark.parametrize(
  "options",
  [{"volumes": ["claim"]}, {"node_labels": ["=x"]}, {"volumes": ["c:"]}],
)
def test_wrong_forms_are_refused(options):
  with pytest.raises(ValueError, match="not of the form"):
    _manifests(ONE, **options)


def test_kubernetes_own_client_knows_every_field():
  client = pytest.importorskip("kubernetes.client")
  api = client.ApiClient(client.Configuration())
  account, role, binding, job_set = _manifests(FOUR)
  [replicated] = job_set["spec"]["replicatedJobs"]
  wanted = [
    ("V1ServiceAccount", account),
    ("V1Role", role),
    ("V1RoleBinding", binding),
    ("V1JobTemplateSpec", replicated["template"]),
    ("V1Job", _manifests(ONE)[0]),
  ]
  for kind, manifest in wanted:
    model = api._ApiClient__deserialize(manifest, kind)
    assert api.sanitize_for_serialization(model) == manifest
