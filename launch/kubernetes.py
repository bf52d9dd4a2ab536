"""Applies jobs to Kubernetes: a Job on one host, a JobSet on several.

  python -m launch.kubernetes --config=configs/vitb.py --workdir=/w \\
    --data_dir=/d --chip=h100 --chips=8 --hosts=2 --image=I \\
    --volume=CLAIM:/w [--dry_run]

JobSets need their controller (jobset.sigs.k8s.io) in the cluster. Credentials
stay where they are: the claims and the service account are the cluster's.
"""

from __future__ import annotations

import argparse
from typing import Any

import yaml

from launch import request
from launch.description import Job

_DEVICES = {"gpu": "nvidia.com/gpu", "tpu": "google.com/tpu"}
_ACCOUNT = "scan42-jax"
# Time to finish a step and save it.
_GRACE_S = 120
_RESTARTS = 10

Manifest = dict[str, Any]


def manifests(
  jobs: list[Job],
  image: str,
  *,
  volumes: list[str],
  node_labels: list[str],
) -> list[Manifest]:
  """Returns what the cluster has to hold for these jobs.

  Raises:
    ValueError: a volume or a label is not of its form.
  """
  mounts = dict(
    _pair(volume, ":", "--volume=CLAIM:/PATH") for volume in volumes
  )
  labels = dict(
    _pair(label, "=", "--node_selector=LABEL=VALUE") for label in node_labels
  )
  several = jobs[0].hardware.hosts > 1
  wanted = _permissions() if several else []
  for job in jobs:
    pod = _pod(job, image, mounts, labels)
    spec = _job_spec(job, pod)
    wanted.append(_job_set(job, spec) if several else _job(job, spec))
  return wanted


def _pair(text: str, sign: str, form: str) -> tuple[str, str]:
  name, found, value = text.partition(sign)
  if not name or not found or not value:
    raise ValueError(f"{text!r} is not of the form {form}")
  return name, value


def _pod(
  job: Job, image: str, mounts: dict[str, str], labels: dict[str, str]
) -> Manifest:
  hardware = job.hardware
  resources = {
    "cpu": str(hardware.cpus),
    "memory": f"{hardware.memory_gb}Gi",
  }
  if hardware.chips:
    resources[_DEVICES[hardware.kind]] = str(hardware.chips)
  container = {
    "name": "run",
    "image": image,
    "command": ["python", *(_literal(arg) for arg in job.args)],
    "resources": {"requests": resources, "limits": resources},
    "volumeMounts": [
      {"name": claim, "mountPath": path} for claim, path in mounts.items()
    ],
  }
  pod = {
    "restartPolicy": "Never",
    "terminationGracePeriodSeconds": _GRACE_S,
    "containers": [container],
    "volumes": [
      {"name": claim, "persistentVolumeClaim": {"claimName": claim}}
      for claim in mounts
    ],
    "nodeSelector": labels,
  }
  return pod | ({"serviceAccountName": _ACCOUNT} if hardware.hosts > 1 else {})


def _literal(arg: str) -> str:
  # Kubernetes replaces $(NAME) in commands; $$ stands for a dollar.
  return arg.replace("$", "$$")


def _job_spec(job: Job, pod: Manifest) -> Manifest:
  hosts = job.hardware.hosts
  return {
    "parallelism": hosts,
    "completions": hosts,
    "completionMode": "Indexed",
    # One host: pods are replaced. Several: the JobSet starts all of them anew.
    "backoffLimit": 0 if hosts > 1 else _RESTARTS,
    "podFailurePolicy": {
      "rules": [
        {
          "action": "FailJob",
          "onExitCodes": {
            "containerName": "run",
            "operator": "In",
            "values": [1],  # A user's mistake: it would only fail again.
          },
        },
        {
          "action": "Ignore",  # Stopped and saved: goes on, uncounted.
          "onExitCodes": {
            "containerName": "run",
            "operator": "In",
            "values": list(job.again),
          },
        },
        {
          "action": "Ignore",
          "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
        },
      ]
    },
    "template": {"spec": pod},
  }


def _job(job: Job, spec: Manifest) -> Manifest:
  return {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": job.name},
    "spec": spec,
  }


def _job_set(job: Job, spec: Manifest) -> Manifest:
  return {
    "apiVersion": "jobset.x-k8s.io/v1alpha2",
    "kind": "JobSet",
    "metadata": {"name": job.name},
    "spec": {
      "failurePolicy": {
        "maxRestarts": _RESTARTS,
        "rules": [
          {
            "action": "FailJobSet",
            "onJobFailureReasons": ["PodFailurePolicy"],
          }
        ],
      },
      "replicatedJobs": [
        {"name": "host", "replicas": 1, "template": {"spec": spec}}
      ],
    },
  }


def _permissions() -> list[Manifest]:
  """Lets JAX's processes find each other: they look at their own pods."""
  rbac = "rbac.authorization.k8s.io"
  name = {"name": _ACCOUNT}
  return [
    {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": name},
    {
      "apiVersion": f"{rbac}/v1",
      "kind": "Role",
      "metadata": name,
      "rules": [
        {
          "apiGroups": [""],
          "resources": ["pods", "services"],
          "verbs": ["get", "list"],
        },
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get"]},
      ],
    },
    {
      "apiVersion": f"{rbac}/v1",
      "kind": "RoleBinding",
      "metadata": name,
      "subjects": [{"kind": "ServiceAccount", **name}],
      "roleRef": {"apiGroup": rbac, "kind": "Role", **name},
    },
  ]


def launch(jobs: list[Job], wanted: argparse.Namespace) -> None:
  """Applies manifests, or prints them."""
  objects = manifests(
    jobs, wanted.image, volumes=wanted.volume, node_labels=wanted.node_selector
  )
  text = as_yaml(objects)
  if wanted.dry_run:
    print(text, end="")
  else:
    request.call(["kubectl", "apply", "-f", "-"], text)


def as_yaml(wanted: list[Manifest]) -> str:
  """Writes manifests as YAML documents; strings stay strings."""
  return "".join(
    f"---\n{yaml.dump(one, Dumper=_NoAliases, sort_keys=False)}"
    for one in wanted
  )


class _NoAliases(yaml.SafeDumper):
  """Writes what occurs twice twice, which people read more easily."""

  def ignore_aliases(self, data: Any) -> bool:
    """Returns True: nothing is referred to."""
    return True


def main() -> None:
  """Launches what the flags ask for."""
  parser = request.Parser(__doc__)
  add = parser.add_argument
  add("--image", required=True, help="made from launch/Dockerfile")
  add("--volume", action="append", default=[], help="CLAIM:/PATH to mount")
  add("--node_selector", action="append", default=[], help="LABEL=VALUE")
  request.run(parser, launch)


if __name__ == "__main__":
  main()
