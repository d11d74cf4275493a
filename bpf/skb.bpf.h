/* SPDX-License-Identifier: GPL-2.0-only */
/* What a TCP socket has just handed out, as the kernel holds it: at tcp_rcv_space_adjust the bytes
 * were copied, and their skb is still at the head of the queue. Reading them there costs a third of
 * reading them where the process has them, and takes no knowledge of the call that reads: a vector,
 * io_uring. For kernels since 6.3. */
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

/* The page of the kernel's linear map; the lowest bit marks memory of a device (netmem). */
static __always_inline __u64 frag_address(const struct frag *f)
{
	if (!page_bytes || f->page & 1)
		return 0;
	return page_bytes + (f->page - page_array) / bpf_core_type_size(struct page) * PAGE_SIZE +
	       f->offset;
}

/* Where the skb's description of its fragments is. */
static __always_inline void *shared_info(struct sk_buff *skb)
{
	return skb->head + skb->end;
}

static __always_inline void first_frag(struct frag *f, struct sk_buff *skb)
{
	void *at = shared_info(skb) + bpf_core_field_offset(struct skb_shared_info, frags);

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

/* Copies WANTED bytes (HEAD_SIZE at most), AT so many from the beginning of the skb at the head of
 * the queue; NULL: not all could be read. Good until the next call on this CPU. */
static __noinline struct gathered *gather(struct sock *sk, __u32 at, __u32 wanted)
{
	struct sk_buff *skb = sk->sk_receive_queue.next;
	__u32 linear = skb->len - skb->data_len, got = 0, key = 0, n;
	struct gathered *g = bpf_map_lookup_elem(&gathering, &key);
	struct skb_shared_info *info = shared_info(skb);
	__u8 count = BPF_CORE_READ(info, nr_frags);
	struct frag f;

	if (!g || wanted > 2047)
		return NULL;
	if (at < linear) {
		got = linear - at < wanted ? linear - at : wanted;
		if (bpf_probe_read_kernel(
			    g->bytes, got & 2047, (void *)BPF_CORE_READ(skb, data) + at))
			return NULL;
		at = linear;
	}
	at -= linear;
	for (__u32 i = 0; i < FRAGS_MAX && i < count && got < wanted; i++) {
		if (bpf_probe_read_kernel(&f, sizeof(f),
			    (void *)info + bpf_core_field_offset(struct skb_shared_info, frags) +
				    i * sizeof(f)))
			return NULL;
		if (at >= f.size) {
			at -= f.size;
			continue;
		}
		n = f.size - at < wanted - got ? f.size - at : wanted - got;
		if (!frag_address(&f) || bpf_probe_read_kernel(g->bytes + (got & 2047), n & 2047,
						 (void *)frag_address(&f) + at))
			return NULL;
		got += n;
		at = 0;
	}
	return got == wanted ? g : NULL;
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
	first_frag(&f, skb);
	if (at >= f.size || f.size - at < size)
		return 0;
	address = frag_address(&f);
	return address ? address + at : 0;
}

/* The BYTES bytes that were read up to SEQ: of more than HEAD_SIZE the first so many. */
static __always_inline void find_in_skb(struct buffer *b, struct sock *sk, __u32 seq, __u32 bytes)
{
	__u32 at, first;
	struct sk_buff *skb = last_skb(sk, &first);
	struct gathered *g;

	b->in_kernel = true;
	b->is_last = true;
	b->end = 0;
	b->address = 0;
	b->size = bytes < HEAD_SIZE ? bytes : HEAD_SIZE;
	if (!skb)
		return;
	at = seq - bytes - first;
	if (at > skb->len || bytes > skb->len - at)
		return;
	b->end = at + bytes;
	b->is_last = b->end < skb->len || sk->sk_receive_queue.qlen == 1;
	b->address = find_piece(skb, at, b->size);
	if (b->address)
		return;
	g = gather(sk, at, b->size);
	if (!g)
		return;
	g->address = (__u64)g->bytes;
	b->address = g->address;
}

/* The last N (8 at most) of these bytes, in the highest of *LAST; false: they are not known. */
static __always_inline bool find_last(struct sock *sk, struct buffer *b, __u32 n, __u64 *last)
{
	struct gathered *g = gather(sk, b->end - n, n);

	if (!g)
		return false;
	*last = *(__u64 *)g->bytes << (64 - n * 8);
	return true;
}

#endif
