<?php
declare(strict_types=1);

/*
 * Declarative validation of form input with conditional rules and nested lists.
 *
 * Problem: input arrives as nested arrays of strings. Every form checks the same kinds of
 * things, converts them, and must report ALL errors together, each at its field, so that the
 * user need not submit five times. A rule is an object that turns a raw value into a clean one
 * or adds errors; rules are combined into bigger ones.
 */

final class Errors {
    public array $byField = [];
    public function add(string $path, string $message): void {
        $this->byField[$path][] = $message;
    }
}

abstract class Rule {
    private bool $required = true;
    private mixed $default = null;

    /** Return the clean value, and add to the errors if there is none. */
    abstract protected function convert(mixed $raw, string $path, Errors $errors): mixed;

    public function optional(mixed $default = null): static {
        $copy = clone $this;
        $copy->required = false;
        $copy->default = $default;
        return $copy;
    }

    public function apply(mixed $raw, string $path, Errors $errors): mixed {
        if ($raw !== null && $raw !== '' && $raw !== []) {
            return $this->convert($raw, $path, $errors);
        }
        $this->required && $errors->add($path, 'is required');
        return $this->default;
    }
}

final class TextRule extends Rule {
    public function __construct(
        private int $max = 200, private string $pattern = '/./', private string $hint = '',
    ) {}

    protected function convert(mixed $raw, string $path, Errors $errors): mixed {
        $text = is_string($raw) ? trim(preg_replace('/\s+/', ' ', $raw)) : '';
        $fits = strlen($text) <= $this->max && preg_match($this->pattern, $text);
        $fits || $errors->add($path, $this->hint ?: "must be text of up to $this->max letters");
        return $text;
    }
}

final class NumberRule extends Rule {
    public function __construct(private int $min, private int $max) {}

    protected function convert(mixed $raw, string $path, Errors $errors): mixed {
        $number = filter_var($raw, FILTER_VALIDATE_INT);
        $fits = $number !== false && $number >= $this->min && $number <= $this->max;
        $fits || $errors->add($path, "must be a whole number from $this->min to $this->max");
        return $number;
    }
}

final class ListRule extends Rule {
    public function __construct(private Rule $element, private int $max) {}

    protected function convert(mixed $raw, string $path, Errors $errors): mixed {
        $items = array_values((array) $raw);
        count($items) <= $this->max || $errors->add($path, "has more than $this->max elements");
        foreach ($items as $i => $item) {
            $items[$i] = $this->element->apply($item, "{$path}[$i]", $errors);
        }
        return $items;
    }
}

final class FormRule extends Rule {
    private array $conditions = [];

    public function __construct(private array $fields) {}

    /** A condition on several fields, blamed on one. It is skipped if any field is faulty. */
    public function also(string $field, callable $condition, string $message): self {
        $this->conditions[] = [$field, $condition, $message];
        return $this;
    }

    protected function convert(mixed $raw, string $path, Errors $errors): mixed {
        $raw = is_array($raw) ? $raw : [];
        $before = count($errors->byField);
        $at = fn (string $field): string => ltrim("$path.$field", '.');
        $clean = [];
        foreach ($this->fields as $name => $rule) {
            $clean[$name] = $rule->apply($raw[$name] ?? null, $at($name), $errors);
        }
        foreach (array_diff(array_keys($raw), array_keys($this->fields)) as $name) {
            $errors->add($at((string) $name), 'is not a field of this form');
        }
        foreach ($this->conditions as [$field, $condition, $message]) {
            $faulty = count($errors->byField) > $before;
            $faulty || $condition($clean) || $errors->add($at($field), $message);
        }
        return $clean;
    }
}

$guest = new FormRule(['name' => new TextRule(40), 'age' => new NumberRule(0, 120)]);
$booking = (new FormRule([
    'contact' => new TextRule(60, '/^\+?[\d ]{6,}$/', 'must be a telephone number'),
    'nights' => new NumberRule(1, 30),
    'guests' => new ListRule($guest, 4),
    'note' => (new TextRule(500))->optional('none'),
]))->also(
    'guests',
    fn (array $form) => max(array_column($form['guests'], 'age')) >= 18,
    'one guest must be an adult',
);

$validate = function (array $input) use ($booking): array {
    $clean = $booking->apply($input, '', $errors = new Errors());
    return [$clean, $errors->byField];
};
[$clean, $errors] = $validate(['contact' => '+47 555 1234', 'nights' => ' 3 ',
    'guests' => [['name' => "  Ada \n Berg ", 'age' => '36'], ['name' => 'Bo', 'age' => '4']]]);
echo json_encode($clean), "\n";
($errors === [] && $clean['guests'][0]['name'] === 'Ada Berg') || exit(1);
($clean['nights'] === 3 && $clean['note'] === 'none') || exit(2);

[, $errors] = $validate(['contact' => 'call me', 'nights' => '2.5', 'pets' => '1',
    'guests' => [['name' => '', 'age' => '200']]]);
foreach ($errors as $field => $messages) echo $field, ' ', implode('; ', $messages), "\n";
array_keys($errors) === ['contact', 'nights', 'guests[0].name', 'guests[0].age', 'pets'] || exit(3);
$child = ['name' => 'Bo', 'age' => 9];
[, $errors] = $validate(['contact' => '555 123', 'nights' => 1, 'guests' => [$child]]);
$errors === ['guests' => ['one guest must be an adult']] || exit(4);
