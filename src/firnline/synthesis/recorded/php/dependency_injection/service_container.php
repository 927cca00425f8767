<?php
declare(strict_types=1);

/*
 * A service container that builds objects from the types of their constructor parameters.
 *
 * Problem: objects need other objects, which need others in turn. Creating them by hand at
 * every place couples everything to everything; global variables make tests impossible. The
 * container reads the constructor's parameter types by reflection and builds what is needed,
 * once per container. It reports circles and values it cannot guess, together with the way
 * that led there.
 */

final class ContainerError extends RuntimeException {}

final class Container {
    /** @var array<string, callable(Container): object> */
    private array $factories = [];
    /** @var array<string, array<string, mixed>> plain parameter values by class */
    private array $values = [];
    /** @var array<string, object> */
    private array $built = [];
    /** @var list<string> what is being built at the moment, outermost first */
    private array $trail = [];

    /** Use an implementation for an interface, or a factory for anything. */
    public function bind(string $type, string|callable $target): self {
        $this->factories[$type] = is_string($target)
            ? fn (Container $c): object => $c->get($target)
            : $target;
        unset($this->built[$type]);
        return $this;
    }

    /** Give a class the values of its parameters that are not objects. */
    public function configure(string $class, mixed ...$values): self {
        $this->values[$class] = [...$this->values[$class] ?? [], ...$values];
        return $this;
    }

    /** The shared object of a type, which is built on first use. */
    public function get(string $type): object {
        if (isset($this->built[$type])) {
            return $this->built[$type];
        }
        $circular = in_array($type, $this->trail, true);
        $this->trail[] = $type;
        try {
            if ($circular) {
                $this->fail('circular dependency');
            }
            $object = isset($this->factories[$type])
                ? ($this->factories[$type])($this)
                : $this->construct($type);
            if (!$object instanceof $type) {
                $this->fail('the factory returned an ' . $object::class);
            }
            return $this->built[$type] = $object;
        } finally {
            array_pop($this->trail);
        }
    }

    private function construct(string $class): object {
        if (!class_exists($class)) {
            $this->fail(interface_exists($class) ? 'no implementation is bound' : 'unknown class');
        }
        $reflection = new ReflectionClass($class);
        $constructor = $reflection->getConstructor();
        if ($constructor === null) {
            return $reflection->newInstance();
        }
        $values = $this->values[$class] ?? [];
        return $reflection->newInstanceArgs($this->arguments($constructor, $values));
    }

    private function arguments(ReflectionFunctionAbstract $function, array $values): array {
        $arguments = [];
        foreach ($function->getParameters() as $parameter) {
            $name = $parameter->getName();
            $type = $parameter->getType();
            if (array_key_exists($name, $values)) {
                $arguments[$name] = $values[$name];
            } elseif ($parameter->isDefaultValueAvailable()) {
                $arguments[$name] = $parameter->getDefaultValue();
            } elseif ($type instanceof ReflectionNamedType && !$type->isBuiltin()) {
                $arguments[$name] = $this->get($type->getName());
            } else {
                $this->fail("no value for parameter \$$name");
            }
        }
        return $arguments;
    }

    private function fail(string $reason): never {
        throw new ContainerError(implode(' -> ', $this->trail) . ": $reason");
    }
}

interface Clock { public function today(): string; }
final class FixedClock implements Clock {
    public function today(): string { return '2024-02-29'; }
}
final class Archive {
    public array $lines = [];
    public function __construct(public readonly string $path, private Clock $clock) {}
    public function add(string $text): void { $this->lines[] = $this->clock->today() . " $text"; }
}
final class Mailer { public function __construct(private Archive $log, public int $tries = 3) {} }
final class Shop {
    public function __construct(public readonly Archive $archive, private Mailer $mailer) {}
}
final class Chicken { public function __construct(Egg $egg) {} }
final class Egg { public function __construct(Chicken $chicken) {} }

function reasonOf(callable $action): string {
    try {
        $action();
        return 'no error';
    } catch (ContainerError $e) {
        echo $e->getMessage(), "\n";
        return $e->getMessage();
    }
}

$container = new Container();
$getShop = fn () => $container->get(Shop::class);
reasonOf($getShop) === 'Shop -> Archive: no value for parameter $path' || exit(1);
$container->configure(Archive::class, path: '/var/orders');
reasonOf($getShop) === 'Shop -> Archive -> Clock: no implementation is bound' || exit(2);
$container->bind(Clock::class, FixedClock::class);
$shop = $container->get(Shop::class);
$shop->archive->add('order 1');
$container->get(Archive::class)->add('order 2'); // the same archive
echo implode("\n", $shop->archive->lines), "\n";
$shop->archive->lines === ['2024-02-29 order 1', '2024-02-29 order 2'] || exit(3);
$circle = reasonOf(fn () => $container->get(Egg::class));
$circle === 'Egg -> Chicken -> Egg: circular dependency' || exit(4);
$container->bind(Clock::class, fn () => new ArrayObject());
str_ends_with(reasonOf(fn () => $container->get(Clock::class)), 'an ArrayObject') || exit(5);
