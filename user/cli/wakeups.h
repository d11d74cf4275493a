/* SPDX-License-Identifier: MIT */
/* Descriptors that end the loop's sleep, behind one that it waits for. */
#pragma once

/* The one. 0 or -errno. */
int wakeups_open(int *epollfd);
/* One of the many; it goes when it is closed. Where that fails, the loop's tick will see to it. */
void wakeups_add(int epollfd, int fd);
