/* SPDX-License-Identifier: MIT */
#include "config/nodes.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "lib/cleanup.h"
#include "lib/text.h"

#define SHOWN_MAX 64 /* bytes of a name in a message */

struct anchor {
	char *name;
	struct node *node;
};

struct builder {
	struct nodes *nodes;
	struct nodes_error *error;
	struct node *open[NODES_DEPTH_MAX];
	size_t depth;
	struct anchor *anchors;
	size_t anchor_count;
	bool had_document;
};

static void builder_free(struct builder *b)
{
	for (size_t i = 0; i < b->anchor_count; i++)
		free(b->anchors[i].name);
	free(b->anchors);
}

void nodes_free(struct nodes *n)
{
	for (size_t i = 0; i < n->n; i++) {
		free(n->v[i]->text);
		free(n->v[i]->items);
		free(n->v[i]);
	}
	free(n->v);
	*n = (struct nodes){};
}

__attribute__((format(printf, 3, 4))) static int refuse(
	struct builder *b, const yaml_mark_t *mark, const char *format, ...)
{
	va_list args;

	b->error->line = (unsigned int)mark->line + 1;
	b->error->column = (unsigned int)mark->column + 1;
	va_start(args, format);
	vsnprintf(b->error->why, sizeof(b->error->why), format, args);
	va_end(args);
	return -EINVAL;
}

/* Room for one more where N are: the array doubles at every power of two. 0 or -ENOMEM. */
static int make_room(void **array, size_t n, size_t size)
{
	void *larger;

	if (n & (n - 1))
		return 0;
	larger = reallocarray(*array, n ? 2 * n : 1, size);
	if (!larger)
		return -ENOMEM;
	*array = larger;
	return 0;
}

static int add_node(
	struct builder *b, enum node_kind kind, const yaml_mark_t *mark, struct node **out)
{
	struct nodes *n = b->nodes;
	struct node *node;
	int r = make_room((void **)&n->v, n->n, sizeof(struct node *));

	if (r < 0)
		return r;
	node = calloc(1, sizeof(*node));
	if (!node)
		return -ENOMEM;
	*node = (struct node){.kind = kind,
		.line = (unsigned int)mark->line + 1,
		.column = (unsigned int)mark->column + 1,
		.weight = 1};
	n->v[n->n++] = node;
	*out = node;
	return 0;
}

/* Puts NODE, which is whole, into the innermost list or map that is being read. */
static int attach(struct builder *b, struct node *node, const yaml_mark_t *mark)
{
	struct node *parent;
	int r;

	if (b->depth == 0) {
		b->nodes->root = node;
		return 0;
	}
	parent = b->open[b->depth - 1];
	r = make_room((void **)&parent->items, parent->n, sizeof(struct node *));
	if (r < 0)
		return r;
	parent->items[parent->n++] = node;
	parent->weight += node->weight;
	if (parent->weight > NODES_MAX)
		return refuse(b, mark, "more than %d values, with aliases expanded", NODES_MAX);
	return 0;
}

static int remember(
	struct builder *b, const yaml_char_t *name, struct node *node, const yaml_mark_t *mark)
{
	int r;

	if (!name)
		return 0;
	if (b->anchor_count == NODES_ANCHORS_MAX)
		return refuse(b, mark, "more than %d anchors", NODES_ANCHORS_MAX);
	r = make_room((void **)&b->anchors, b->anchor_count, sizeof(*b->anchors));
	if (r < 0)
		return r;
	b->anchors[b->anchor_count] = (struct anchor){strdup((const char *)name), node};
	return b->anchors[b->anchor_count++].name ? 0 : -ENOMEM;
}

static int take_alias(struct builder *b, const yaml_event_t *e)
{
	const char *name = (const char *)e->data.alias.anchor;

	/* From the end: a name that was given again means the latest. */
	for (size_t i = b->anchor_count; i-- > 0;) {
		if (strcmp(b->anchors[i].name, name) != 0)
			continue;
		if (b->anchors[i].node->open)
			return refuse(b, &e->start_mark, "*%.*s stands inside of itself", SHOWN_MAX,
				name);
		return attach(b, b->anchors[i].node, &e->start_mark);
	}
	return refuse(b, &e->start_mark,
		"no anchor is called '%.*s'; a pattern that begins with * needs quotes", SHOWN_MAX,
		name);
}

static int take_text(struct builder *b, const yaml_event_t *e)
{
	const unsigned char *bytes = e->data.scalar.value;
	struct node *node;
	int r;

	for (size_t i = 0; i < e->data.scalar.length; i++)
		if ((bytes[i] < 0x20 && bytes[i] != '\t' && bytes[i] != '\n') || bytes[i] == 0x7f)
			return refuse(b, &e->start_mark, "a control character (\\x%02x) in a text",
				bytes[i]);
	if (e->data.scalar.tag)
		return refuse(b, &e->start_mark, "tags (!…) have no meaning here");
	r = add_node(b, NODE_TEXT, &e->start_mark, &node);
	if (r < 0)
		return r;
	node->plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	node->text = strdup((const char *)bytes);
	if (!node->text)
		return -ENOMEM;
	r = remember(b, e->data.scalar.anchor, node, &e->start_mark);
	return r < 0 ? r : attach(b, node, &e->start_mark);
}

static int open_node(struct builder *b, enum node_kind kind, const yaml_event_t *e,
	const yaml_char_t *tag, const yaml_char_t *anchor)
{
	struct node *node;
	int r;

	if (b->depth == NODES_DEPTH_MAX)
		return refuse(b, &e->start_mark, "more than %d lists and maps in one another",
			NODES_DEPTH_MAX);
	if (tag)
		return refuse(b, &e->start_mark, "tags (!…) have no meaning here");
	r = add_node(b, kind, &e->start_mark, &node);
	if (r < 0)
		return r;
	node->open = true;
	b->open[b->depth++] = node;
	return remember(b, anchor, node, &e->start_mark);
}

static int close_node(struct builder *b, const yaml_event_t *e)
{
	struct node *node = b->open[--b->depth];

	node->open = false;
	return attach(b, node, &e->start_mark);
}

static int take(struct builder *b, const yaml_event_t *e)
{
	switch (e->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (b->had_document)
			return refuse(b, &e->start_mark, "a second document: a file has one");
		b->had_document = true;
		return 0;
	case YAML_ALIAS_EVENT:
		return take_alias(b, e);
	case YAML_SCALAR_EVENT:
		return take_text(b, e);
	case YAML_SEQUENCE_START_EVENT:
		return open_node(
			b, NODE_LIST, e, e->data.sequence_start.tag, e->data.sequence_start.anchor);
	case YAML_MAPPING_START_EVENT:
		return open_node(
			b, NODE_MAP, e, e->data.mapping_start.tag, e->data.mapping_start.anchor);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		return close_node(b, e);
	default:
		return 0;
	}
}

/* The reader works ahead of the parser and tells bytes, not lines. */
static yaml_mark_t mark_of_offset(const char *text, size_t len, size_t offset)
{
	yaml_mark_t mark = {};

	for (size_t i = 0; i < offset && i < len; i++) {
		if (text[i] == '\n') {
			mark.line++;
			mark.column = 0;
		} else {
			mark.column += (text[i] & 0xc0) != 0x80;
		}
	}
	mark.index = offset;
	return mark;
}

/* Bytes from the start of the text to MARK, which counts characters. */
static char at_mark(const char *text, size_t len, const yaml_mark_t *mark)
{
	size_t i = 0, characters = 0;

	while (i < len && characters < mark->index) {
		i++;
		while (i < len && (text[i] & 0xc0) == 0x80)
			i++;
		characters++;
	}
	return i < len ? text[i] : '\0';
}

static int syntax_error(
	struct builder *b, const yaml_parser_t *parser, const char *text, size_t len)
{
	yaml_mark_t mark = parser->problem_mark;
	const char *hint = "";

	if (parser->error == YAML_MEMORY_ERROR)
		return -ENOMEM;
	if (parser->error == YAML_READER_ERROR) {
		mark = mark_of_offset(text, len, parser->problem_offset);
		return refuse(b, &mark, "%s (byte 0x%02x)", parser->problem,
			(unsigned int)(parser->problem_value & 0xff));
	}
	if (at_mark(text, len, &mark) == '\t')
		hint = ": a tab cannot indent, only blanks can";
	else if (parser->context && strcmp(parser->context, "while scanning an alias") == 0)
		hint = ": a pattern that begins with * needs quotes";
	if (parser->context)
		return refuse(b, &mark, "%s %s that begins in line %zu%s", parser->problem,
			parser->context, parser->context_mark.line + 1, hint);
	return refuse(b, &mark, "%s%s", parser->problem, hint);
}

int nodes_parse(const char *text, size_t len, struct nodes *out, struct nodes_error *error)
{
	_cleanup_(builder_free) struct builder b = {.nodes = out, .error = error};
	_cleanup_(yaml_parser_delete) yaml_parser_t parser;
	bool ended = false;

	if (!yaml_parser_initialize(&parser))
		return -ENOMEM;
	/* Not by its first bytes: UTF-16 is refused, as every other tool would show it as rubbish.
	 */
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
	while (!ended) {
		_cleanup_(yaml_event_delete) yaml_event_t event = {};
		int r;

		if (!yaml_parser_parse(&parser, &event))
			return syntax_error(&b, &parser, text, len);
		r = take(&b, &event);
		if (r < 0)
			return r;
		ended = event.type == YAML_STREAM_END_EVENT;
	}
	return 0;
}
