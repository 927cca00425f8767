import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;

/**
 * Runs tasks of one key strictly one after another, and tasks of different keys in parallel.
 *
 * <p>Problem: payments for an account must be booked in the order in which they arrive, but
 * different accounts have nothing to do with each other. A single worker is too slow, a plain
 * pool mixes up the order, and a thread per account wastes threads. Here every active key has
 * a queue; a key with waiting tasks occupies at most one pool thread, and gives it back after
 * a few tasks so that one busy account cannot starve the others.
 */
public final class KeyedExecutor<K> implements AutoCloseable {
    private static final int TASKS_PER_TURN = 8;

    private final ExecutorService pool;
    private final int maxQueued;
    private final Map<K, Queue<Runnable>> lanes = new HashMap<>(); // guarded by "lanes"
    private int queued;                                           // guarded by "lanes"
    private boolean closed;                                       // guarded by "lanes"

    /**
     * @param threads number of pool threads
     * @param maxQueued tasks that may wait over all keys before new ones are refused
     */
    public KeyedExecutor(int threads, int maxQueued) {
        this.pool = Executors.newFixedThreadPool(threads);
        this.maxQueued = maxQueued;
    }

    /** Queue a task; the future reports its result or its exception. */
    public <T> CompletableFuture<T> submit(K key, Callable<T> task) {
        CompletableFuture<T> future = new CompletableFuture<>();
        Runnable step = () -> {
            try {
                future.complete(task.call());
            } catch (Throwable problem) {
                future.completeExceptionally(problem);
            }
        };
        synchronized (lanes) {
            if (closed) throw new RejectedExecutionException("executor is closed");
            if (queued >= maxQueued) throw new RejectedExecutionException("queue is full");
            queued++;
            Queue<Runnable> lane = lanes.get(key);
            if (lane != null) { // somebody is already working on this key
                lane.add(step);
                return future;
            }
            lanes.put(key, new ArrayDeque<>(List.of(step)));
            pool.execute(() -> runTurn(key));
        }
        return future;
    }

    /** Work on one key for a while, then line up again behind the other keys. */
    private void runTurn(K key) {
        for (int done = 0; done < TASKS_PER_TURN; done++) {
            Runnable step;
            synchronized (lanes) {
                step = lanes.get(key).poll();
                if (step == null) {
                    lanes.remove(key);
                    lanes.notifyAll();
                    return;
                }
                queued--;
            }
            step.run();
        }
        pool.execute(() -> runTurn(key));
    }

    /** Refuse new tasks, wait until all accepted ones have run, and end the threads. */
    @Override
    public void close() {
        synchronized (lanes) {
            closed = true;
            try {
                while (!lanes.isEmpty()) lanes.wait();
            } catch (InterruptedException stop) {
                Thread.currentThread().interrupt(); // stop waiting; queued tasks still run
                return;
            }
        }
        pool.shutdown();
    }

    public static void main(String[] args) throws Exception {
        Map<String, List<Integer>> booked = new ConcurrentHashMap<>();
        List<CompletableFuture<Integer>> futures = new ArrayList<>();
        KeyedExecutor<String> executor = new KeyedExecutor<>(4, 10_000);
        try (executor) {
            for (int i = 0; i < 900; i++) {
                int serial = i;
                String account = List.of("rent", "food", "travel").get(i % 3);
                futures.add(executor.submit(account, () -> {
                    List<Integer> list = booked.computeIfAbsent(account, k -> new ArrayList<>());
                    list.add(serial); // no lock: one task per account at a time
                    return list.size();
                }));
            }
            CompletableFuture<Object> bad = executor.submit("food", () -> {
                throw new ArithmeticException("negative amount");
            });
            try {
                bad.get(5, TimeUnit.SECONDS);
                throw new AssertionError("the failure was lost");
            } catch (ExecutionException expected) {
                System.out.println("reported: " + expected.getCause().getMessage());
            }
        }
        for (List<Integer> serials : booked.values()) {
            for (int i = 1; i < serials.size(); i++) {
                if (serials.get(i - 1) >= serials.get(i)) throw new AssertionError("order lost");
            }
        }
        int last = futures.get(futures.size() - 1).join();
        System.out.println("each account booked " + last + " payments in order");
        if (last != 300) throw new AssertionError("tasks were lost");
        try {
            executor.submit("late", () -> 1);
            throw new AssertionError("accepted a task after close");
        } catch (RejectedExecutionException expected) {
            System.out.println("reported: " + expected.getMessage());
        }
    }
}
