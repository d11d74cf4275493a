// SPDX-License-Identifier: MIT
// An HTTP server on one event loop; the first line it prints is its port. /sleep/MS answers later, /spin/MS keeps the loop
// busy, /run/MS waits for a child, /events streams events, /large answers with 8 MiB, and an upgrade is accepted.
const child = require('child_process')
const http = require('http')

const server = http.createServer((request, response) => {
	const [, what, ms] = request.url.split('?')[0].split('/')

	if (what === 'sleep') {
		setTimeout(() => response.end('ok'), Number(ms))
	} else if (what === 'spin') {
		for (const end = Date.now() + Number(ms); Date.now() < end;);
		response.end('ok')
	} else if (what === 'run') {
		child.execFileSync('sleep', [Number(ms) / 1000])
		response.end('ok')
	} else if (what === 'events') {
		response.writeHead(200, {'Content-Type': 'text/event-stream'})
		setInterval(() => response.write('data: 1\n\n'), 500)
	} else if (what === 'large') {
		response.end(Buffer.alloc(8 << 20))
	} else {
		response.end('ok')
	}
})

server.on('upgrade', (request, socket) => {
	socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n')
	socket.on('data', () => {})
	socket.on('error', () => {})
})
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
