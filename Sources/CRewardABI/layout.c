// The layout of version 1.0 on a 64-bit machine, field by field: a released field never moves.

#include "attune_reward.h"

#if UINTPTR_MAX == UINT64_MAX

#define AT(type, field, offset) _Static_assert(offsetof(type, field) == (offset), #type "." #field " has moved")
#define SIZE(type, bytes) _Static_assert(sizeof(type) >= (bytes), #type " has shrunk")
#define EXACT(type, bytes) _Static_assert(sizeof(type) == (bytes), #type " may never change its size")

AT(attune_string, data, 0);
AT(attune_string, size, 8);
EXACT(attune_string, 16);

AT(attune_value, type, 0);
AT(attune_value, reserved, 4);
AT(attune_value, number, 8);
AT(attune_value, text, 16);
EXACT(attune_value, 32);

AT(attune_component, name, 0);
AT(attune_component, value, 16);
EXACT(attune_component, 24);

AT(attune_note, name, 0);
AT(attune_note, text, 16);
EXACT(attune_note, 32);

AT(attune_step_reward, first_token, 0);
AT(attune_step_reward, end_token, 4);
AT(attune_step_reward, value, 8);
AT(attune_step_reward, label, 16);
EXACT(attune_step_reward, 32);

AT(attune_error, message, 0);
AT(attune_error, capacity, 8);
EXACT(attune_error, 16);

AT(attune_image, struct_size, 0);
AT(attune_image, kind, 4);
AT(attune_image, ordinal, 8);
AT(attune_image, message_index, 12);
AT(attune_image, width, 16);
AT(attune_image, height, 20);
AT(attune_image, row_stride, 24);
AT(attune_image, model_width, 28);
AT(attune_image, model_height, 32);
AT(attune_image, reserved, 36);
AT(attune_image, scale_x, 40);
AT(attune_image, scale_y, 48);
AT(attune_image, coordinate_range, 56);
AT(attune_image, pixels, 64);
AT(attune_image, encoded, 72);
AT(attune_image, mime_type, 88);
AT(attune_image, timestamp, 104);
SIZE(attune_image, 112);

AT(attune_message, struct_size, 0);
AT(attune_message, origin, 4);
AT(attune_message, role, 8);
AT(attune_message, name, 24);
AT(attune_message, text, 40);
AT(attune_message, tool_calls, 56);
AT(attune_message, json, 72);
SIZE(attune_message, 88);

AT(attune_turn, struct_size, 0);
AT(attune_turn, origin, 4);
AT(attune_turn, first_token, 8);
AT(attune_turn, end_token, 12);
AT(attune_turn, reward, 16);
SIZE(attune_turn, 24);

AT(attune_sample, struct_size, 0);
AT(attune_sample, finish_reason, 4);
AT(attune_sample, sample_id, 8);
AT(attune_sample, group_id, 16);
AT(attune_sample, index_in_group, 24);
AT(attune_sample, group_size, 28);
AT(attune_sample, truncated, 32);
AT(attune_sample, reserved, 36);
AT(attune_sample, seed, 40);
AT(attune_sample, prompt, 48);
AT(attune_sample, generation_prefix, 64);
AT(attune_sample, completion, 80);
AT(attune_sample, completion_raw, 96);
AT(attune_sample, stop_string, 112);
AT(attune_sample, reference, 128);
AT(attune_sample, columns, 144);
AT(attune_sample, dataset, 160);
AT(attune_sample, row_id, 176);
AT(attune_sample, channel, 192);
AT(attune_sample, message_count, 208);
AT(attune_sample, messages, 216);
AT(attune_sample, completion_message_count, 224);
AT(attune_sample, completion_messages, 232);
AT(attune_sample, reference_count, 240);
AT(attune_sample, references, 248);
AT(attune_sample, token_count, 256);
AT(attune_sample, token_ids, 264);
AT(attune_sample, token_offsets, 272);
AT(attune_sample, policy_mask, 280);
AT(attune_sample, logprobs, 288);
AT(attune_sample, entropies, 296);
AT(attune_sample, turn_count, 304);
AT(attune_sample, turns, 312);
AT(attune_sample, image_count, 320);
AT(attune_sample, images, 328);
SIZE(attune_sample, 336);

AT(attune_batch, struct_size, 0);
AT(attune_batch, phase, 4);
AT(attune_batch, step, 8);
AT(attune_batch, total_steps, 16);
AT(attune_batch, epoch, 24);
AT(attune_batch, policy_version, 32);
AT(attune_batch, seed, 40);
AT(attune_batch, time_limit_ms, 48);
AT(attune_batch, call_time_limit_ms, 56);
AT(attune_batch, recipe, 64);
AT(attune_batch, run_id, 80);
AT(attune_batch, sample_count, 96);
AT(attune_batch, samples, 104);
SIZE(attune_batch, 112);

AT(attune_outcome, struct_size, 0);
AT(attune_outcome, status, 4);
AT(attune_outcome, score, 8);
AT(attune_outcome, log, 16);
AT(attune_outcome, component_count, 32);
AT(attune_outcome, components, 40);
AT(attune_outcome, note_count, 48);
AT(attune_outcome, notes, 56);
AT(attune_outcome, token_reward_count, 64);
AT(attune_outcome, token_rewards, 72);
AT(attune_outcome, step_reward_count, 80);
AT(attune_outcome, step_rewards, 88);
SIZE(attune_outcome, 96);

AT(attune_judge_request, struct_size, 0);
AT(attune_judge_request, max_tokens, 4);
AT(attune_judge_request, temperature, 8);
AT(attune_judge_request, judge, 16);
AT(attune_judge_request, system, 32);
AT(attune_judge_request, prompt, 48);
AT(attune_judge_request, messages, 64);
AT(attune_judge_request, continuation, 80);
SIZE(attune_judge_request, 96);

AT(attune_judge_reply, struct_size, 0);
AT(attune_judge_reply, reserved, 4);
AT(attune_judge_reply, text, 8);
AT(attune_judge_reply, message, 24);
AT(attune_judge_reply, prompt_tokens, 40);
AT(attune_judge_reply, completion_tokens, 48);
AT(attune_judge_reply, logprob, 56);
SIZE(attune_judge_reply, 64);

AT(attune_host, struct_size, 0);
AT(attune_host, reserved, 4);
AT(attune_host, host_data, 8);
AT(attune_host, name, 16);
AT(attune_host, version, 24);
AT(attune_host, allocate, 32);
AT(attune_host, begin, 40);
AT(attune_host, end, 48);
AT(attune_host, cancelled, 56);
AT(attune_host, now_ms, 64);
AT(attune_host, random, 72);
AT(attune_host, column, 80);
AT(attune_host, parameter, 88);
AT(attune_host, json, 96);
AT(attune_host, log, 104);
AT(attune_host, metric, 112);
AT(attune_host, decode_tokens, 120);
AT(attune_host, encode_text, 128);
AT(attune_host, judge, 136);
AT(attune_host, get_extension, 144);
SIZE(attune_host, 152);

AT(attune_parameter, struct_size, 0);
AT(attune_parameter, type, 4);
AT(attune_parameter, name, 8);
AT(attune_parameter, default_json, 16);
AT(attune_parameter, summary, 24);
AT(attune_parameter, minimum, 32);
AT(attune_parameter, maximum, 40);
SIZE(attune_parameter, 48);

AT(attune_reward, struct_size, 0);
AT(attune_reward, flags, 4);
AT(attune_reward, needs, 8);
AT(attune_reward, produces, 12);
AT(attune_reward, reward_data, 16);
AT(attune_reward, name, 24);
AT(attune_reward, summary, 32);
AT(attune_reward, minimum, 40);
AT(attune_reward, maximum, 48);
AT(attune_reward, parameters, 56);
AT(attune_reward, columns, 64);
AT(attune_reward, create, 72);
AT(attune_reward, score, 80);
AT(attune_reward, destroy, 88);
AT(attune_reward, save_state, 96);
AT(attune_reward, load_state, 104);
AT(attune_reward, get_extension, 112);
SIZE(attune_reward, 120);

AT(attune_library, struct_size, 0);
AT(attune_library, magic, 4);
AT(attune_library, abi_major, 8);
AT(attune_library, abi_minor, 12);
AT(attune_library, name, 16);
AT(attune_library, version, 24);
AT(attune_library, reward_count, 32);
AT(attune_library, rewards, 40);
SIZE(attune_library, 48);

#endif

_Static_assert(sizeof(double) == 8 && sizeof(float) == 4, "IEEE floats");
