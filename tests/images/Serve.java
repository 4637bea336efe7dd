// SPDX-License-Identifier: Apache-2.0
// The Java program of the test image: says how large the JVM thinks its machine is, and tries to outgrow it.
//   /          hello, and the version of Java
//   /memory    bytes the JVM may have for its heap; bytes of the machine; processors
//   /heap      fills the heap until the JVM refuses, and says so: the program goes on
//   /beyond    takes memory beside the heap until the kernel ends it
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;

public class Serve {
	private static String memory() {
		var os = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
		return Runtime.getRuntime().maxMemory() + " " + os.getTotalMemorySize() + " " + os.getAvailableProcessors() + "\n";
	}

	private static String fillHeap() {
		List<byte[]> all = new ArrayList<>();
		try {
			while (true)
				all.add(new byte[1 << 20]);
		} catch (OutOfMemoryError e) {
			int mib = all.size();
			all = null;
			return "OutOfMemoryError after " + mib + " MiB\n";
		}
	}

	private static String goBeyond() {
		List<ByteBuffer> all = new ArrayList<>();
		for (int i = 0; i < 1 << 14; i++) {
			ByteBuffer b = ByteBuffer.allocateDirect(1 << 20);
			for (int at = 0; at < b.capacity(); at += 4096)
				b.put(at, (byte) 1);
			all.add(b);
		}
		return "nothing stopped it at " + all.size() + " MiB\n";
	}

	private static void answer(HttpExchange x) throws IOException {
		String text;
		switch (x.getRequestURI().getPath()) {
		case "/memory": text = memory(); break;
		case "/heap": text = fillHeap(); break;
		case "/beyond": text = goBeyond(); break;
		default: text = "hello from Java " + System.getProperty("java.version") + "\n";
		}
		byte[] body = text.getBytes();
		x.sendResponseHeaders(200, body.length);
		x.getResponseBody().write(body);
		x.close();
	}

	public static void main(String[] args) throws IOException {
		HttpServer server = HttpServer.create(new InetSocketAddress(8080), 0);
		server.createContext("/", Serve::answer);
		if (args.length > 0 && args[0].equals("once")) {    // the image's recipe records which classes it uses
			memory();
			server.start();
			new java.net.URL("http://127.0.0.1:8080/").openStream().readAllBytes();
			System.exit(0);
		}
		server.start();
		System.out.println("serving on 8080, up to " + Runtime.getRuntime().maxMemory() + " bytes of heap");
	}
}
