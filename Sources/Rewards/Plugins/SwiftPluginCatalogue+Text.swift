// Made by `RECORD_EMBEDDED=1 swift test --filter EmbeddedKitTests` from the plugins of rewards/: do not edit.
// swift-format-ignore-file

extension SwiftPluginCatalogue {
  static let text = ##"""
[
  {
    "path": "",
    "library": "answer_format",
    "version": "1.0",
    "abi": [
      1,
      0
    ],
    "reward": "answer_format",
    "summary": "1 if the completion is exactly <answer>digits</answer>",
    "deterministic": true,
    "needs": 0,
    "range": [
      0.0,
      1.0
    ],
    "columns": [],
    "parameters": []
  },
  {
    "path": "",
    "library": "f1",
    "version": "1.0",
    "abi": [
      1,
      0
    ],
    "reward": "f1",
    "summary": "F1 between the words of the answer and of a reference, the best of several references",
    "deterministic": true,
    "needs": 0,
    "range": [
      0.0,
      1.0
    ],
    "columns": [],
    "parameters": []
  },
  {
    "path": "",
    "library": "fuzzy_match",
    "version": "1.0",
    "abi": [
      1,
      0
    ],
    "reward": "fuzzy_match",
    "summary": "closeness of the answer to a reference: 1 - edits / length, in characters or in words",
    "deterministic": true,
    "needs": 0,
    "range": [
      0.0,
      1.0
    ],
    "columns": [],
    "parameters": [
      {
        "name": "mode",
        "type": 4,
        "summary": "ratio: edits of code points over the longer text; word_error_rate: edits of words over the reference's",
        "default": "ratio"
      },
      {
        "name": "normalize",
        "type": 2,
        "summary": "compare without ASCII case, punctuation and repeated spaces",
        "default": true
      },
      {
        "name": "max_length",
        "type": 3,
        "summary": "how many units are aligned; each one beyond them counts as an edit",
        "default": 4096.0,
        "minimum": 1.0,
        "maximum": 16384.0
      }
    ]
  },
  {
    "path": "",
    "library": "group_length",
    "version": "1.0",
    "abi": [
      1,
      0
    ],
    "reward": "group_length",
    "summary": "the shorter of a group's right completions score higher, from 0.5 to -0.5; wrong ones at most 0",
    "deterministic": true,
    "needs": 1,
    "range": [
      -0.5,
      0.5
    ],
    "columns": [],
    "parameters": [
      {
        "name": "unit",
        "type": 4,
        "summary": "tokens or characters",
        "default": "tokens"
      },
      {
        "name": "correct",
        "type": 4,
        "summary": "match: the answer is a reference, as in exact_match; all: every completion counts as right; column: as a column says",
        "default": "match"
      },
      {
        "name": "column",
        "type": 4,
        "summary": "for correct: column, a boolean or a number that is right from 1 on",
        "default": "correct"
      }
    ]
  },
  {
    "path": "",
    "library": "react",
    "version": "1.0",
    "abi": [
      1,
      0
    ],
    "reward": "react",
    "summary": "the right action with the right arguments, graded by the F1 of keys and values",
    "deterministic": true,
    "needs": 0,
    "range": [
      0.0,
      1.0
    ],
    "columns": [],
    "parameters": [
      {
        "name": "binary",
        "type": 2,
        "summary": "1 only for arguments that are wholly right, else 0",
        "default": false
      },
      {
        "name": "rouge_threshold",
        "type": 3,
        "summary": "arguments that are no JSON count from above this ROUGE-L on",
        "default": 0.2,
        "minimum": 0.0,
        "maximum": 1.0
      },
      {
        "name": "format_weight",
        "type": 3,
        "summary": "the share of the score that is the format",
        "default": 0.0,
        "minimum": 0.0,
        "maximum": 1.0
      },
      {
        "name": "prefix",
        "type": 2,
        "summary": "the format may begin in what the template opened the completion with",
        "default": true
      }
    ]
  },
  {
    "path": "",
    "library": "reasoning_steps",
    "version": "1.0",
    "abi": [
      1,
      0
    ],
    "reward": "reasoning_steps",
    "summary": "step markers over 3, at most 1: easily hacked, an example of what not to trust",
    "deterministic": true,
    "needs": 0,
    "range": [
      0.0,
      1.0
    ],
    "columns": [],
    "parameters": [
      {
        "name": "target",
        "type": 3,
        "summary": "how many markers score 1",
        "default": 3.0,
        "minimum": 1.0,
        "maximum": 1000.0
      }
    ]
  },
  {
    "path": "",
    "library": "tool_use",
    "version": "1.0",
    "abi": [
      1,
      0
    ],
    "reward": "tool_use",
    "summary": "format, correct tool calls and length of thought, with bounds that may follow the training step",
    "deterministic": true,
    "needs": 0,
    "range": null,
    "columns": [],
    "parameters": [
      {
        "name": "format_weight",
        "type": 3,
        "summary": "weight of the format in the score",
        "default": 1.0
      },
      {
        "name": "correctness_weight",
        "type": 3,
        "summary": "weight of the tool calls' correctness",
        "default": 1.0
      },
      {
        "name": "length_weight",
        "type": 3,
        "summary": "weight of the thought's length",
        "default": 0.0
      },
      {
        "name": "format_min",
        "type": 3,
        "summary": "",
        "default": 0.0
      },
      {
        "name": "format_max",
        "type": 3,
        "summary": "",
        "default": 1.0
      },
      {
        "name": "correctness_min",
        "type": 3,
        "summary": "",
        "default": -3.0
      },
      {
        "name": "correctness_max",
        "type": 3,
        "summary": "",
        "default": 3.0
      },
      {
        "name": "length_min",
        "type": 3,
        "summary": "",
        "default": 0.0
      },
      {
        "name": "length_max",
        "type": 3,
        "summary": "",
        "default": 1.0
      },
      {
        "name": "length_words",
        "type": 3,
        "summary": "a thought of so many words has the whole length_max",
        "default": 512.0,
        "minimum": 1.0,
        "maximum": 1000000.0
      },
      {
        "name": "schedule",
        "type": 4,
        "summary": "none; linear: format and correctness begin at -start to start and reach their bounds at the end; two_stage: correctness divided by 3 before switch_step, format by 2 from then on",
        "default": "none"
      },
      {
        "name": "start",
        "type": 3,
        "summary": "for linear: the bounds at the first step",
        "default": 2.0,
        "minimum": 0.0,
        "maximum": 1000.0
      },
      {
        "name": "schedule_steps",
        "type": 3,
        "summary": "for linear: its length, 0 for the run's",
        "default": 0.0,
        "minimum": 0.0,
        "maximum": 1000000000.0
      },
      {
        "name": "switch_step",
        "type": 3,
        "summary": "for two_stage",
        "default": 30.0,
        "minimum": 0.0,
        "maximum": 1000000000.0
      },
      {
        "name": "prefix",
        "type": 2,
        "summary": "the answer begins with what the template opened the completion with",
        "default": true
      }
    ]
  }
]
"""##
}
