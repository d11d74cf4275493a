/* SPDX-License-Identifier: MIT */
/* The messages between daemon and handler, as JSON packets with at most one descriptor. */
#pragma once

#include <jansson.h>

#include "capture/broker.h"

/* Sends JSON as one packet with FD (-1: none), without blocking and without SIGPIPE. 0, -EMSGSIZE,
 * -EAGAIN … */
int wire_send(int socket, const json_t *json, int fd);
/* Receives one packet: 1, 0 at the end of the conversation, -EAGAIN when there is none, -EPROTO
 * when it is not one of ours. *fd (may be NULL) is the descriptor that came with it, or -1. */
int wire_receive(int socket, json_t **json, int *fd);

/* New references, NULL without memory. */
json_t *wire_question(const struct broker_question *q);
json_t *wire_answer(const struct decision *decision, const json_t *event);
json_t *wire_inquiry(pid_t pid);
/* 0 or -EPROTO. */
int wire_parse_question(const json_t *json, struct broker_question *out);
int wire_parse_inquiry(const json_t *json, pid_t *pid);
