#pragma once
#include <yaml.h>

// Accessors for the parts of an event that sit in a union, one branch per event type. Pointers are borrowed: they are
// valid until the event is deleted.

/// The anchor (`&name`) of a value, or the name that an alias (`*name`) refers to; NULL if there is none.
static inline const char *attune_yaml_anchor(const yaml_event_t *event) {
  switch (event->type) {
    case YAML_ALIAS_EVENT: return (const char *)event->data.alias.anchor;
    case YAML_SCALAR_EVENT: return (const char *)event->data.scalar.anchor;
    case YAML_SEQUENCE_START_EVENT: return (const char *)event->data.sequence_start.anchor;
    case YAML_MAPPING_START_EVENT: return (const char *)event->data.mapping_start.anchor;
    default: return NULL;
  }
}

/// The tag written before a value, shorthand expanded; NULL if there is none.
static inline const char *attune_yaml_tag(const yaml_event_t *event) {
  switch (event->type) {
    case YAML_SCALAR_EVENT: return (const char *)event->data.scalar.tag;
    case YAML_SEQUENCE_START_EVENT: return (const char *)event->data.sequence_start.tag;
    case YAML_MAPPING_START_EVENT: return (const char *)event->data.mapping_start.tag;
    default: return NULL;
  }
}

/// The bytes of a scalar (UTF-8, may hold NUL); NULL for other events.
static inline const unsigned char *attune_yaml_scalar(const yaml_event_t *event, size_t *length) {
  if (event->type != YAML_SCALAR_EVENT) return NULL;
  *length = event->data.scalar.length;
  return event->data.scalar.value;
}

/// 1 for a scalar written without quotes and not as a block.
static inline int attune_yaml_is_plain(const yaml_event_t *event) {
  return event->type == YAML_SCALAR_EVENT && event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}
