/* SPDX-License-Identifier: GPL-2.0-only */
/* What a TCP socket has just handed out, as the kernel holds it: at tcp_rcv_space_adjust the bytes
 * were copied, and their skb is mostly (not for splice) still at the head of the queue. Reading
 * them there costs a third of reading them where the process has them, and takes no knowledge of
 * the call that reads: a vector, io_uring. For kernels since 6.3. */
#ifndef CORETRAP_SKB_BPF_H
#define CORETRAP_SKB_BPF_H

#include "buffer.bpf.h"
#include "http.bpf.h"
#include "socket.bpf.h"

#define FRAGS_MAX 45 /* CONFIG_MAX_SKB_FRAGS allows no more */

/* How a page's bytes are found (find_pages()): where the kernel has its struct pages, and where the
 * first one's bytes. User space checks it before it relies on it. */
__u64 page_array, page_bytes;

struct frag { /* skb_frag_t: struct bio_vec before 6.9, which has the same in it */
	__u64 page;
	__u32 size, offset;
};

/* Bytes that do not lie in one piece are put together here. */
struct gathered {
	__u32 wanted; /* bytes */
	__u32 size;   /* so many are here */
	__u32 skip;   /* so many of what comes next are none of them */
	__u32 padding;
	__u64 frags;		/* where they are described */
	__u8 bytes[2 * 2048];	/* HEAD_SIZE are used; an index of 2,047 and as many bytes behind it
				   are within bounds, which a mask shows */
	volatile __u64 address; /* of them: as a number, which a pointer does not become before the
				   verifier's eyes but in memory */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct gathered);
} gathering SEC(".maps");

#define PAGE_ARRAY_SIZE (1ULL << 40) /* at most, with four levels of page tables */

/* In the kernel's linear map; 0: it is none of its pages. The lowest bit marks memory of a device
 * (netmem). */
static __always_inline __u64 frag_address(const struct frag *f)
{
	__u64 at = f->page - page_array, size = bpf_core_type_size(struct page);

	if (!page_bytes || f->page & 1 || at >= PAGE_ARRAY_SIZE)
		return 0;
	return page_bytes + at / size * PAGE_SIZE + f->offset;
}

/* The skb's description of its fragments. */
static __always_inline struct skb_shared_info *shared_info(struct sk_buff *skb)
{
	return bpf_rdonly_cast(
		skb->head + skb->end, bpf_core_type_id_kernel(struct skb_shared_info));
}

/* Where it describes the first of them; only so many of these are set. */
static __always_inline void *first_frag_at(struct skb_shared_info *info)
{
	return (void *)info + bpf_core_field_offset(struct skb_shared_info, frags);
}

static __always_inline void read_first_frag(struct frag *f, struct skb_shared_info *info)
{
	void *at = first_frag_at(info);

	f->page = f->size = f->offset = 0;
	if (!info->nr_frags)
		return;
	if (bpf_core_type_exists(struct skb_frag)) {
		struct skb_frag *frag =
			bpf_rdonly_cast(at, bpf_core_type_id_kernel(struct skb_frag));

		f->page = frag->netmem;
		f->size = frag->len;
		f->offset = frag->offset;
		return;
	}
	bpf_probe_read_kernel(f, sizeof(*f), at);
}

/* The skb that the socket has read last, if it was not taken out since; *SEQ is where it begins in
 * the stream. */
static __always_inline struct sk_buff *last_skb(struct sock *sk, __u32 *seq)
{
	struct sk_buff *skb = sk->sk_receive_queue.next;
	struct tcp_skb_cb *cb;

	if (!sk->sk_receive_queue.qlen)
		return NULL;
	cb = bpf_rdonly_cast((void *)skb->cb, bpf_core_type_id_kernel(struct tcp_skb_cb));
	*seq = cb->seq;
	return skb;
}

/* What is wanted of the SIZE bytes at FROM; false: they cannot be read. The barriers keep the
 * masks, by which older verifiers see bounds. */
static __always_inline bool gather_piece(struct gathered *g, __u64 from, __u32 size)
{
	__u32 got = g->size, n = g->wanted - got;

	if (g->skip >= size) {
		g->skip -= size;
		return true;
	}
	from += g->skip;
	if (n > size - g->skip)
		n = size - g->skip;
	barrier_var(n);
	barrier_var(got);
	n &= 2047;
	got &= 2047;
	if (bpf_probe_read_kernel(g->bytes + got, n, (void *)from))
		return false;
	g->size = got + n;
	g->skip = 0;
	return true;
}

/* Goes on with that fragment; 0: nothing more is wanted, or can be read. A function that the
 * verifier looks at by itself, as append_head(). */
__noinline int gather_frag(__u32 which)
{
	__u32 key = 0;
	struct gathered *g = bpf_map_lookup_elem(&gathering, &key);
	struct frag f;
	__u64 from;

	if (!g || g->size >= g->wanted ||
		bpf_probe_read_kernel(&f, sizeof(f), (void *)g->frags + which * sizeof(f)))
		return 0;
	from = frag_address(&f);
	return from && gather_piece(g, from, f.size);
}

/* Copies WANTED bytes (HEAD_SIZE at most), AT so many from the beginning of the skb at the head of
 * the queue, as far as they can be read: what GRO has chained to it (frag_list) cannot. Good until
 * the next call on this CPU. */
static __noinline struct gathered *gather(struct sock *sk, __u32 at, __u32 wanted)
{
	struct sk_buff *skb = sk->sk_receive_queue.next;
	struct skb_shared_info *info = shared_info(skb);
	__u32 linear = skb->len - skb->data_len, count = info->nr_frags, key = 0;
	struct gathered *g = bpf_map_lookup_elem(&gathering, &key);

	if (!g)
		return NULL;
	g->wanted = wanted;
	g->size = 0;
	g->skip = at;
	g->frags = (__u64)first_frag_at(info);
	if (!gather_piece(g, (__u64)BPF_CORE_READ(skb, data), linear))
		return g;
	for (__u32 i = 0; i < FRAGS_MAX && i < count; i++)
		if (!gather_frag(i))
			break;
	return g;
}

/* SIZE bytes in one piece, AT so many from the beginning of the skb; 0: they are not. */
static __always_inline __u64 find_piece(struct sk_buff *skb, __u32 at, __u32 size)
{
	__u32 linear = skb->len - skb->data_len;
	struct frag f;
	__u64 address;

	if (at < linear)
		return linear - at < size ? 0 : (__u64)BPF_CORE_READ(skb, data) + at;
	at -= linear;
	read_first_frag(&f, shared_info(skb));
	if (at >= f.size || f.size - at < size)
		return 0;
	address = frag_address(&f);
	return address ? address + at : 0;
}

/* The BYTES bytes that were read up to SEQ: of more than HEAD_SIZE the first so many, or as many as
 * can be read. False: they are at the head of the queue no more. */
static __always_inline bool find_in_skb(struct buffer *b, struct sock *sk, __u32 seq, __u32 bytes)
{
	__u32 at, first;
	struct sk_buff *skb = last_skb(sk, &first);
	struct gathered *g;

	b->in_kernel = true;
	b->is_last = true;
	b->address = 0;
	b->size = bytes < HEAD_SIZE ? bytes : HEAD_SIZE;
	b->end = 0;
	if (!skb)
		return false;
	at = seq - bytes - first;
	if (at > skb->len || bytes > skb->len - at)
		return false;
	b->end = at + bytes;
	/* Some of it is left, or it is the only one. Without a branch: the verifier would go
	 * through all that follows twice. */
	b->is_last =
		((__u64)b->end - skb->len) >> 63 | ((__u64)sk->sk_receive_queue.qlen - 2) >> 63;
	b->address = find_piece(skb, at, b->size);
	if (b->address)
		return true;
	g = gather(sk, at, b->size);
	if (!g || !g->size)
		return true;
	g->address = (__u64)g->bytes;
	b->address = g->address;
	b->size = g->size;
	return true;
}

/* The last N (8 at most) of these bytes, in the highest of *LAST; false: they are not known. */
static __always_inline bool find_last(struct sock *sk, struct buffer *b, __u32 n, __u64 *last)
{
	struct gathered *g = gather(sk, b->end - n, n);

	if (!g || g->size != n)
		return false;
	*last = *(__u64 *)g->bytes << (64 - n * 8);
	return true;
}

#endif
