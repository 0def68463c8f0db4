// Programs for Java's compilers whose results do not depend on the machine;
// each prints "R name result".  Run by jit.sh.
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;
import java.util.stream.*;
public class Jit
{
	static int fib(int n)
	{
		return n < 2 ? n : fib(n - 1) + fib(n - 2);
	}
	interface Shape
	{
		double area();
	}
	record Sq(double s) implements Shape
	{
		public double area()
		{
			return s * s;
		}
	}
	record Ci(double r) implements Shape
	{
		public double area()
		{
			return 3.25 * r * r;
		}
	}
	static void out(String k, Object v)
	{
		System.out.println("R " + k + " " + v);
	}
	public static void main(String[] a) throws Exception
	{
		out("fib", fib(30));
		long h = 0;
		for (int i = 0; i < 20_000_000; i++)
			h = h * 31 + (i ^ (h >>> 7));
		out("long", h);
		double f = 0;
		for (int i = 1; i < 2_000_000; i++)
			f += Math.sqrt(i) / i;
		out("double", String.format("%.6f", f));
		int[] s = new Random(42).ints(300000).toArray();
		Arrays.sort(s);
		out("sort", s[0] + " " + s[150000] + " " + s[299999]);
		Map<String, Integer> m = new HashMap<>();
		for (int i = 0; i < 200000; i++)
			m.merge("k" + i % 5003, i, (x, y) -> x ^ y);
		out("map", m.values().stream().mapToLong(x -> x).sum());
		StringBuilder sb = new StringBuilder();
		for (int i = 0; i < 50000; i++)
			sb.append(i % 97);
		out("str", sb.toString().hashCode());
		Shape[] sh = new Shape[1000];
		for (int i = 0; i < 1000; i++)
			sh[i] = i % 3 == 0 ? new Sq(i) : new Ci(i);
		double t = 0;
		for (int r = 0; r < 2000; r++)
			for (Shape x : sh)
				t += x.area();
		out("virt", (long)t);
		out("stream", IntStream.range(0, 1000000)
				      .filter(x -> x % 7 == 3)
				      .mapToLong(x -> (long)x * x)
				      .sum());
		byte[] d = new byte[1 << 20];
		new Random(7).nextBytes(d);
		out("sha",
		    HexFormat.of().formatHex(
			    java.security.MessageDigest.getInstance("SHA-256")
				    .digest(d)));
		java.util.zip.CRC32 c = new java.util.zip.CRC32();
		c.update(d);
		out("crc", c.getValue());
		int ex = 0;
		for (int i = 0; i < 20000; i++)
			try {
				Object o = i % 2 == 0 ? null : "x";
				ex += o.hashCode();
			} catch (NullPointerException e) {
				ex += 7;
			}
		out("npe", ex);
		int dz = 0;
		for (int i = 0; i < 2000; i++)
			try {
				dz += 100 / (i % 5);
			} catch (ArithmeticException e) {
				dz += 1000;
			}
		out("div0", dz);
		AtomicLong al = new AtomicLong();
		ConcurrentHashMap<Integer, Long> ch = new ConcurrentHashMap<>();
		ExecutorService e = Executors.newFixedThreadPool(4);
		List<Future<Long>> fs = new ArrayList<>();
		for (int k = 0; k < 8; k++) {
			int kk = k;
			fs.add(e.submit(() -> {
				long x = 0;
				for (int i = 0; i < 100000; i++) {
					al.incrementAndGet();
					x += i * kk;
					ch.merge(i % 64, 1L, Long::sum);
				}
				return x;
			}));
		}
		long sum = 0;
		for (var q : fs)
			sum += q.get();
		e.shutdown();
		out("threads",
		    sum + " " + al.get() + " " +
			    ch.values().stream().mapToLong(x -> x).sum());
		Object lock = new Object();
		int[] cnt = { 0 };
		Thread[] th = new Thread[4];
		for (int k = 0; k < 4; k++) {
			th[k] = new Thread(() -> {
				for (int i = 0; i < 50000; i++)
					synchronized (lock) {
						cnt[0]++;
					}
			});
			th[k].start();
		}
		for (var x : th)
			x.join();
		out("sync", cnt[0]);
		List<byte[]> g = new ArrayList<>();
		long gs = 0;
		for (int i = 0; i < 3000; i++) {
			g.add(new byte[10000]);
			if (g.size() > 200)
				g.remove(0);
			gs += g.size();
		}
		out("gc", gs);
		out("end", "ok");
	}
}
