"""Conversations that language models were tuned on, with a film in them.

A prompt that is worded otherwise than in tuning costs quality, so each family
has its own.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Template:
  """How a request is put, and how an answer ends.

  Attributes:
    before: text before the film, special tokens written out.
    after: text after it; {request} is what is asked for.
    ends: tokens that end an answer, the first of them in training.
    pad: a token that no answer has, for padding.
  """

  before: str
  after: str
  ends: tuple[str, ...]
  pad: str


TEMPLATES = {
  "vicuna": Template(
    before="<s>A chat between a curious user and an artificial intelligence"
    " assistant. The assistant gives helpful, detailed, and polite answers to"
    " the user's questions. USER: ",
    after="\n{request} ASSISTANT:",
    ends=("</s>",),
    pad="<s>",
  ),
  "llama3": Template(
    before="<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n",
    after="\n{request}<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    ends=("<|eot_id|>", "<|end_of_text|>"),
    pad="<|begin_of_text|>",
  ),
  "qwen2": Template(
    before="<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "<|im_start|>user\n",
    after="\n{request}<|im_end|>\n<|im_start|>assistant\n",
    ends=("<|im_end|>",),
    pad="<|endoftext|>",
  ),
  "tinyllama": Template(
    before="<s><|user|>\n",
    after="\n{request}</s>\n<|assistant|>\n",
    ends=("</s>",),
    pad="<s>",
  ),
  "plain": Template(
    before="<s>", after="\n{request}\n", ends=("</s>",), pad="<s>"
  ),
}
"""By the name that config.language_model.template takes."""
