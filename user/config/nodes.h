/* SPDX-License-Identifier: MIT */
/* YAML text into a tree of nodes that know where they stand. Bounded in depth and in what its
 * aliases expand to; an alias is its anchor's node once more, so the tree may share nodes, but it
 * has no cycle. Nothing is converted: every scalar is text. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define NODES_DEPTH_MAX	  16	/* lists and maps within one another */
#define NODES_MAX	  65536 /* aliases expanded */
#define NODES_ANCHORS_MAX 1024
#define NODES_WHY_MAX	  256

enum node_kind {
	NODE_TEXT,
	NODE_LIST,
	NODE_MAP,
};

struct node {
	enum node_kind kind;
	unsigned int line, column; /* of its first character, from 1; columns are characters */
	char *text;		   /* NODE_TEXT: no control characters but \t and \n */
	bool plain;		   /* NODE_TEXT: without quotes */
	struct node **items;	   /* NODE_LIST; NODE_MAP: key, value, key, value … */
	size_t n;		   /* of ITEMS */
	size_t weight;		   /* nodes in it, itself included, aliases expanded */
	bool open;		   /* being read: an alias to it would be a cycle */
};

struct nodes {
	struct node *root; /* NULL: the text is empty, or all comment */
	struct node **v;   /* all of them, as owner */
	size_t n;
};

struct nodes_error {
	unsigned int line, column;
	char why[NODES_WHY_MAX]; /* one line, printable */
};

/* 0, -ENOMEM, or -EINVAL with *ERROR set. *OUT, which was zero, is to be freed in any case. */
int nodes_parse(const char *text, size_t len, struct nodes *out, struct nodes_error *error);
void nodes_free(struct nodes *n);
#define _cleanup_nodes_ __attribute__((cleanup(nodes_free)))
