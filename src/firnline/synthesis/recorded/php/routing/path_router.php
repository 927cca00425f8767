<?php
declare(strict_types=1);

/*
 * A router that maps request paths to handlers, and handlers back to paths.
 *
 * Problem: an application has hundreds of routes such as "/users/{id:int}/posts/{slug}".
 * Trying one regular expression after another is slow and makes the result depend on the
 * order of registration. Routes are kept in a tree of path segments instead. Fixed text is
 * preferred to a typed parameter, and a typed one to a free one, so the most specific route
 * wins. The right path with the wrong method is told apart from no path.
 */

final class RouteNotFound extends RuntimeException {}

final class MethodNotAllowed extends RuntimeException {
    public function __construct(public readonly array $allowed) {
        parent::__construct('allowed: ' . implode(', ', $allowed));
    }
}

final class RouteNode {
    public array $fixed = [];    // RouteNode by segment
    public array $typed = [];    // ['name' => ..., 'node' => ...] by parameter type
    public array $handlers = []; // callable by method
}

final class Router {
    /** In the order of preference. */
    private const TYPES = [
        'int' => '/^-?\d{1,18}$/',
        'date' => '/^\d{4}-\d\d-\d\d$/',
        'text' => '/^.+$/',
    ];

    private array $names = []; // patterns by route name

    public function __construct(private RouteNode $root = new RouteNode()) {}

    public function add(string $method, string $pattern, callable $do, string $name = ''): self {
        $node = $this->root;
        foreach ($this->segments($pattern) as $segment) {
            if (!preg_match('/^\{(\w+)(?::(\w+))?\}$/', $segment, $m)) {
                $node = $node->fixed[$segment] ??= new RouteNode();
                continue;
            }
            $type = $m[2] ?? 'text';
            if (!isset(self::TYPES[$type])) {
                throw new InvalidArgumentException("unknown type in $pattern: $type");
            }
            $node->typed[$type] ??= ['name' => $m[1], 'node' => new RouteNode()];
            $node = $node->typed[$type]['node'];
        }
        if (isset($node->handlers[$method])) {
            throw new InvalidArgumentException("$method $pattern is defined twice");
        }
        $node->handlers[$method] = $do;
        $this->names[$name] = $pattern;
        return $this;
    }

    public function dispatch(string $method, string $path): mixed {
        $allowed = [];
        $found = $this->find($this->root, $this->segments($path), $method, [], $allowed);
        if ($found !== null) {
            return $found[0](...$found[1]);
        }
        throw $allowed === []
            ? new RouteNotFound($path)
            : new MethodNotAllowed(array_values(array_unique($allowed)));
    }

    /** Fill in a named route; the values must satisfy the types of the pattern. */
    public function path(string $route, array $values): string {
        $pattern = $this->names[$route] ?? throw new RouteNotFound("route $route");
        return preg_replace_callback('/\{(\w+)(?::(\w+))?\}/', function (array $m) use ($values) {
            $value = (string) ($values[$m[1]] ?? '');
            if (!preg_match(self::TYPES[$m[2] ?? 'text'], $value)) {
                throw new InvalidArgumentException("bad value for {$m[1]}: $value");
            }
            return rawurlencode($value);
        }, $pattern);
    }

    /** Depth-first, with a return to less specific branches. */
    private function find(
        RouteNode $node, array $rest, string $method, array $have, array &$allowed,
    ): ?array {
        if ($rest === []) {
            array_push($allowed, ...array_keys($node->handlers));
            return isset($node->handlers[$method]) ? [$node->handlers[$method], $have] : null;
        }
        $segment = array_shift($rest);
        $found = isset($node->fixed[$segment])
            ? $this->find($node->fixed[$segment], $rest, $method, $have, $allowed) : null;
        foreach (self::TYPES as $type => $shape) {
            if ($found === null && isset($node->typed[$type]) && preg_match($shape, $segment)) {
                ['name' => $name, 'node' => $child] = $node->typed[$type];
                $value = $type === 'int' ? (int) $segment : $segment;
                $found = $this->find($child, $rest, $method, [...$have, $name => $value], $allowed);
            }
        }
        return $found;
    }

    private function segments(string $path): array {
        $parts = array_filter(explode('/', $path), fn (string $part) => $part !== '');
        return array_map('rawurldecode', array_values($parts));
    }
}

$router = (new Router())
    ->add('GET', '/', fn () => 'home')
    ->add('GET', '/users/new', fn () => 'form')
    ->add('GET', '/users/{id:int}', fn (int $id) => "user $id", 'user')
    ->add('DELETE', '/users/{id:int}', fn (int $id) => "removed $id")
    ->add('GET', '/users/{name}/files/{file}', fn ($name, $file) => "$file of $name", 'file')
    ->add('GET', '/log/{day:date}', fn (string $day) => "log of $day");

$check = function (mixed $actual, mixed $wanted): void {
    echo $actual, "\n";
    $actual === $wanted || throw new LogicException("wanted $wanted");
};
$failure = function (callable $action): string {
    try {
        return $action();
    } catch (Exception $e) {
        return $e::class . ' ' . $e->getMessage();
    }
};
$check($router->dispatch('GET', '/users/new/'), 'form');
$check($router->dispatch('GET', '/users/42'), 'user 42');
$check($router->dispatch('GET', '/users/new/files/a%20b'), 'a b of new');
$path = $router->path('file', ['name' => 'Ann Lee', 'file' => 'x/y']);
$check($path, '/users/Ann%20Lee/files/x%2Fy');
$put = $failure(fn () => $router->dispatch('PUT', '/users/7'));
$check($put, 'MethodNotAllowed allowed: GET, DELETE');
$check($failure(fn () => $router->dispatch('GET', '/log/today')), 'RouteNotFound /log/today');
$bad = $failure(fn () => $router->path('user', ['id' => 'x']));
$check($bad, 'InvalidArgumentException bad value for id: x');
