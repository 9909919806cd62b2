"""What each template of the second suite is rendered with: (name, messages, options) by template."""

from conversations import SEARCH, assistant, call, image, system, tool, user, words

ROUTE = {
    "type": "function",
    "function": {
        "name": "plan_route",
        "description": "Plan a route.\nLegs are <ordered>.",
        "parameters": {
            "type": "object",
            "properties": {
                "stops": {"type": "array", "items": {"type": "string"}, "description": '  Places, e.g. "Ærø"  '},
                "mode": {"type": "string", "enum": ["foot", "bike"], "default": "foot"},
                "limit": {"type": ["integer", "null"], "minimum": 1},
                "weights": {"type": "object", "additionalProperties": {"type": "number"}},
                "grid": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
                "options": {
                    "type": "object",
                    "properties": {"tolls": {"type": "boolean"}, "speed": {"type": "number", "nullable": True}},
                    "required": ["tolls"],
                },
                "when": {"oneOf": [{"type": "string", "default": "now"}, {"type": "integer"}], "default": 5},
                "anything": {"description": "Free."},
            },
            "required": ["stops", "weights"],
        },
        "return": {"type": "array", "items": {"type": "string"}},
        "strict": True,
    },
}
CLOCK = {
    "type": "function",
    "function": {"name": "clock", "description": "The time.", "parameters": {"type": "object", "properties": {}}},
}
BARE = {
    "name": "bare",
    "description": "No wrapper",
    "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}},
}

ARGUMENTS = {
    "stops": ["Ærø", "Å"],
    "limit": None,
    "weights": {"a": 0.1, "b": 1e-7, "c": 1e16, "d": -0.0},
    "options": {"tolls": False},
    "mode": "bike",
    "speed": 3.0,
}
PLAIN = [user("Hi"), assistant(" Hello! \n"), user("Count, please.  ")]
RULED = [system("  Be <brief> & kind.\n"), *PLAIN]
CALLED = [
    user("From Å to Ærø?"),
    assistant("Planning.", tool_calls=[{**call("plan_route", ARGUMENTS), "id": "abc123XYZ"}]),
    tool('{"km": 12.50}', name="plan_route", tool_call_id="abc123XYZ"),
    assistant("12.5 km."),
    user("Thanks 😀"),
]
SILENT = [
    user("Time?"),
    assistant(tool_calls=[{**call("clock", {}), "id": "000000001"}]),
    tool("07:30", tool_call_id="000000001"),
]
TWO = [
    user("Time, and tides?"),
    assistant(
        "",
        tool_calls=[
            {**call("clock", {}), "id": "000000001"},
            {**call("search", {"query": "tides"}), "id": "000000002"},
        ],
    ),
    tool("07:30", tool_call_id="000000001"),
    tool("high", tool_call_id="000000002"),
]
SPOKEN = [
    user("Tides?"),
    assistant("Looking.", tool_calls=[call("search", '{"query": "x"}'), call("search", "{}")]),
    tool("06:12"),
    tool("-"),
    assistant("At 06:12."),
    user("ok"),
]
TWICE = [user("a"), user("b")]
LEAD = [assistant("I begin."), user("ok")]
ODD_ROLE = [user("q"), {"role": "narrator", "content": "Meanwhile,"}]
PICTURE = [user([image(), words(" What is it? ")])]
THOUGHT = [
    user("1+1?"),
    assistant("<think>\nEasy.\n</think>\n\nTwo."),
    user("Times 3?"),
    assistant("Six.", reasoning_content="\n2*3\n"),
]
STEPS = [
    user("Find it."),
    assistant("", reasoning_content="Search.", tool_calls=[call("search", {"query": "it"})]),
    tool("found"),
    assistant("Once more.", tool_calls=[call("search", '{"query": "again"}')]),
    tool("found again"),
    user("<tool_response>\nold style\n</tool_response>"),
    assistant("Here.", reasoning="Done."),
]
GO = {"add_generation_prompt": True}
ON = {"continue_final_message": True}
TOOLS = {"tools": [ROUTE, CLOCK]}

CASES = {
    "llama_tools": [
        ("plain", PLAIN, GO),
        ("rules", RULED, {}),
        ("date", RULED, {"date_string": "1 May 2023"}),
        ("tools", CALLED, {**TOOLS, **GO}),
        ("tools_in_rules", RULED, {"tools": [CLOCK], "tools_in_user_message": False}),
        ("custom_tools", SILENT, {"custom_tools": [CLOCK]}),
        ("two_calls", TWO, {"tools": [CLOCK]}),
        ("tools_then_assistant", LEAD, {"tools": [CLOCK]}),
        ("picture", PICTURE, GO),
        ("picture_and_rules", [system("S"), *PICTURE], GO),
        ("rules_in_parts", [system([words(" S ")]), user("q")], {}),
        ("only_rules", [system("S")], {}),
        ("odd_part", [user([{"type": "audio", "text": "t"}])], {}),
        ("result_mapping", [*SILENT[:2], tool({"t": [1.0, None, True]})], {}),
        ("continue", RULED[:3], ON),
    ],
    "mistral_tools": [
        ("plain", PLAIN, {}),
        ("rules", RULED, {}),
        ("tools", CALLED, TOOLS),
        ("one_tool", RULED, {"tools": [SEARCH]}),
        ("two_calls", TWO, TOOLS),
        ("silent", SILENT, {}),
        ("no_id", [user("q"), assistant(tool_calls=[call("clock", {})])], {}),
        ("short_id", [*SILENT[:2], tool("x", tool_call_id="12")], {}),
        ("number_result", [*SILENT[:2], tool({"content": 7.0}, tool_call_id="123456789")], {}),
        ("users_in_a_row", TWICE, {}),
        ("assistant_first", LEAD, {}),
        ("odd_role", ODD_ROLE, {}),
        ("late_rules", [user("q"), system("S")], {}),
        ("continue", PLAIN[:2], ON),
        ("parts", PICTURE, {}),
        ("empty_tools", PLAIN, {"tools": []}),
    ],
    "gemma": [
        ("plain", PLAIN, GO),
        ("rules", RULED, GO),
        ("rules_in_parts", [system([words("A "), words("B")]), user("q")], GO),
        ("picture", PICTURE, GO),
        ("users_in_a_row", TWICE, {}),
        ("assistant_first", LEAD, {}),
        ("tool_role", [user("q"), tool("r")], {}),
        ("odd_role", [{"role": "narrator", "content": "x"}], {}),
        ("number", [user(5)], {}),
        ("no_content", [{"role": "user"}], {}),
        ("continue", RULED[:3], ON),
        ("continue_blank", [user("q"), assistant("tail  ")], ON),
        ("only_rules", [system("S")], GO),
        ("spaces", [user("\u00a0\u2003 x \u0085")], {}),
        ("empty_parts", [user([])], {}),
    ],
    "phi4": [
        ("plain", PLAIN, {}),
        ("plain+prompt", PLAIN, GO),
        ("rules", RULED, GO),
        ("default_rules", PLAIN, {"default_system": "D"}),
        (
            "tools_in_message",
            [{"role": "system", "content": "S", "tools": '[{"name": "f"}]'}, user("q"), assistant("a")],
            {},
        ),
        ("odd_role", ODD_ROLE, {}),
        ("odd_role_quoted", [{"role": 'a"<b>', "content": ""}], {}),
        ("open", [user("q"), assistant("a", open=True)], {}),
        ("continue", [user("q"), assistant("a b")], ON),
        ("emoji", [user("😀"), assistant("👍🏽 é\u0301 日本"), user("x"), assistant("")], {}),
        ("missing", [user("q"), assistant()], {}),
        ("late_rules", [user("a"), assistant("b"), system("c"), user("d")], GO),
    ],
    "deepseek_r1": [
        ("plain", PLAIN, GO),
        ("rules", RULED, {}),
        ("two_rules", [system("A"), user("q"), system("B")], GO),
        ("thinking", PLAIN, {**GO, "thinking": True}),
        ("history", THOUGHT, {}),
        ("two_ends", [user("q"), assistant("a</think>b</think>c")], {}),
        ("spoken", SPOKEN, GO),
        (
            "silent",
            [
                SPOKEN[0],
                {"role": "assistant", "content": None, "tool_calls": [call("f", "{}")]},
                tool("r"),
                assistant("<think>t</think>s"),
            ],
            {},
        ),
        ("mapping_arguments", CALLED, {}),
        ("prefix", [user("q"), assistant("so far", prefix=True)], {"thinking": True}),
        ("continue", [user("q"), assistant("so far")], ON),
        ("continue_thought", [user("q"), assistant("<think>so far")], ON),
        ("continue_lost", [user("q"), assistant("<think>x</think>")], ON),
        ("no_content", [user("q"), assistant()], {}),
    ],
    "qwen2_5_vl": [
        ("plain", PLAIN, GO),
        ("rules", RULED, GO),
        ("picture", PICTURE, GO),
        (
            "numbered",
            [
                user([image(), words("a"), image(image="b.png"), {"type": "video"}]),
                assistant([words("Two.")]),
                user(
                    [
                        {"type": "image_url", "image_url": {"url": "c"}},
                        {"video": "v.mp4", "fps": 2.0},
                        {"video": "w", "fps": 0.1},
                    ]
                ),
            ],
            {**GO, "add_vision_id": True},
        ),
        ("not_numbered", [user([image(), {"type": "video", "fps": 1}])], {"add_vision_id": False}),
        ("rules_in_parts", [system([words("S")]), user([])], GO),
        ("named_image", [user([{"type": "text", "text": "image"}])], {}),
        ("odd_part", [user([{"type": "audio"}])], {}),
        ("part_string", [user(["image here", "text"])], {}),
        ("number", [user(3)], {}),
        ("continue", [user("q"), assistant([words("The "), image(), words("cat")])], ON),
        ("continue_picture", [user("q"), assistant([image()])], ON),
        ("tool", SILENT, GO),
    ],
    "qwen3_thinking": [
        ("plain", PLAIN, GO),
        ("rules", RULED, GO),
        ("tools", CALLED, {**TOOLS, **GO}),
        ("tools_and_rules", RULED, {"tools": [CLOCK]}),
        ("history", THOUGHT, {}),
        ("steps", STEPS, TOOLS),
        ("no_thinking", PLAIN, {**GO, "enable_thinking": False}),
        ("two_calls", TWO, GO),
        ("spoken", SPOKEN, {}),
        ("no_question", [assistant("x"), tool("y")], {}),
        ("parts", PICTURE, {}),
        ("continue", THOUGHT, ON),
        ("late_rules", [user("a"), system("S"), assistant("b\n", thinking="t")], {}),
        ("reasoning_both", [user("a"), assistant("b", thinking="t", reasoning_content="r", reasoning="z")], {}),
    ],
    "qwen3_coder": [
        ("plain", PLAIN, GO),
        ("rules", RULED, GO),
        ("tools", CALLED, {**TOOLS, **GO}),
        ("bare_tool", RULED, {"tools": [BARE]}),
        ("silent", SILENT, GO),
        ("two_calls", TWO, GO),
        ("string_arguments", SPOKEN, {}),
        ("tool_first", [tool("r")], {}),
        ("no_content", [user("q"), assistant()], {}),
        ("odd_role", ODD_ROLE, {}),
        ("no_parameters", PLAIN[:1], {"tools": [{"name": "n", "parameters": None, "extra": {"k": "<v>"}}]}),
        ("continue", RULED[:3], ON),
        ("empty_tools", PLAIN[:1], {"tools": []}),
    ],
    "smollm3": [
        ("plain", PLAIN, GO),
        ("plain+off", PLAIN, {**GO, "enable_thinking": False}),
        ("rules", RULED, {}),
        ("off_in_rules", [system("Short. /no_think"), user("q"), assistant("\n\na")], GO),
        ("on_in_rules", [system("/think Long."), user("q")], {**GO, "enable_thinking": False}),
        ("override", [system("Raw./system_override  "), user("q")], GO),
        ("tools", CALLED, {**TOOLS, **GO}),
        ("both_tools", PLAIN, {"xml_tools": [BARE], "python_tools": ["def f(x): pass", CLOCK]}),
        ("floats", [user("q")], {"xml_tools": [ARGUMENTS, "it's", [True, None, "\"'\n\u00e9\u200b"]]}),
        ("number_tools", [user("q")], {"python_tools": 5}),
        ("mapping_tools", [user("q")], {"xml_tools": {"a": 1}}),
        ("continue", RULED[:3], ON),
        ("parts", PICTURE, GO),
    ],
    "command_r": [
        ("plain", PLAIN, GO),
        ("rules", RULED, GO),
        ("default", PLAIN, {"use_default": True}),
        ("default_number", PLAIN, {"use_default": 1}),
        ("tools", CALLED, {**TOOLS, **GO}),
        ("named_tools", SILENT, {"tools": [SEARCH]}),
        (
            "documents",
            PLAIN,
            {
                **GO,
                "citation_mode": "fast",
                "documents": [
                    {"title": "tides", "text": "High water comes twice a day; " * 4},
                    {"id": 7, "text": "x"},
                    {"title": "Moon's pull", "text": "a\nb"},
                ],
            },
        ),
        ("document_number", PLAIN, {"documents": [{"title": "t", "n": 5}]}),
        ("users_in_a_row", TWICE, {}),
        ("odd_role", ODD_ROLE, {}),
        ("odd_role_tools", ODD_ROLE, {"tools": [CLOCK]}),
        ("chatbot", [user("q"), {"role": "chatbot", "content": " a "}], GO),
        ("continue", RULED[:3], ON),
        ("empty_documents", PLAIN[:1], {"documents": []}),
    ],
    "hermes": [
        ("plain", PLAIN, GO),
        ("rules", RULED, GO),
        ("tools", CALLED, {"tools": [SEARCH, CLOCK], **GO}),
        (
            "array_last",
            PLAIN[:1],
            {
                "tools": [
                    {
                        "name": "n",
                        "description": "d",
                        "parameters": {
                            "properties": {
                                "list": {"type": "array", "items": {"type": "integer"}},
                                "B": {
                                    "type": ["string", "number"],
                                    "description": "A long description of B, cut in the middle",
                                },
                                "a": {"type": "object"},
                            }
                        },
                        "return": {"type": "boolean"},
                    }
                ]
            },
        ),
        ("array_not_last", PLAIN[:1], TOOLS),
        ("no_type", PLAIN[:1], {"tools": [{"name": "n", "description": "d", "parameters": {"properties": {"x": {}}}}]}),
        ("no_description", PLAIN[:1], {"tools": [{"name": "n", "parameters": {"properties": {}}}]}),
        ("two_calls", TWO, GO),
        ("string_arguments", SPOKEN, {}),
        ("flat_call", [user("q"), assistant(tool_calls=[{"name": "f", "arguments": {}}])], {}),
        ("tool_first", [tool("a"), tool("b")], {}),
        ("parts", PICTURE, {}),
        ("continue", PLAIN[:2], ON),
    ],
    "gpt_oss": [
        ("plain", PLAIN, GO),
        ("rules", RULED, {}),
        ("developer", [{"role": "developer", "content": "Terse."}, user("q"), assistant("a", thinking="t")], {}),
        ("effort", PLAIN, {**GO, "effort": "high", "model_identity": 'You are "A".'}),
        ("tools", CALLED, {**TOOLS, **GO}),
        ("steps", STEPS[:3], {"tools": [CLOCK]}),
        ("thought", [user("q"), assistant("", thinking="Look.", tool_calls=[call("clock", {}, kind="x")])], {}),
        (
            "content_type",
            [user("q"), assistant(tool_calls=[{"name": "f", "content_type": "code", "arguments": "print('é')"}])],
            {},
        ),
        ("both", [user("q"), assistant("a", thinking="t", tool_calls=[call("f", {})])], {}),
        ("markers", [user("q"), assistant("<|channel|>analysis<|message|>x")], {}),
        ("result_first", [user("q"), tool("r")], {}),
        ("result_after_answer", [*CALLED[:4], tool("r")], {}),
        ("mapping_result", [*SILENT[:2], tool({"a": [1, 2.5, "<é>"]})], {}),
        ("continue", [user("q"), assistant("So")], ON),
    ],
}
TOKENIZERS = {
    "llama_tools": "llama3",
    "mistral_tools": "metaspace",
    "gemma": "llama2",
    "phi4": "qwen",
    "deepseek_r1": "deepseek",
    "qwen2_5_vl": "qwen",
    "qwen3_thinking": "qwen",
    "qwen3_coder": "qwen",
    "smollm3": "qwen",
    "command_r": "deepseek_old",
    "hermes": "llama3",
    "gpt_oss": "qwen",
}
