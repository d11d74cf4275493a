// SPDX-License-Identifier: MIT

import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;

/** An HTTP server with a pool of threads; the first line it prints is its port. /sleep/MS answers after MS milliseconds,
 *  /large with 8 MiB. */
public class Serve {
	public static void main(String[] args) throws Exception {
		HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);

		server.setExecutor(Executors.newFixedThreadPool(4, task -> new Thread(task, "serve-worker")));
		server.createContext("/", exchange -> {
			String path = exchange.getRequestURI().getPath();
			if (path.startsWith("/sleep/")) {
				try {
					Thread.sleep(Integer.parseInt(path.substring(7)));
				} catch (InterruptedException e) {
					throw new RuntimeException(e);
				}
			}
			byte[] body = path.equals("/large") ? new byte[8 << 20] : "ok".getBytes();
			exchange.sendResponseHeaders(200, body.length);
			exchange.getResponseBody().write(body);
			exchange.close();
		});
		server.start();
		System.out.println(server.getAddress().getPort());
	}
}
