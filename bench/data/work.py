# work.py - what scripts do: dicts, strings, classes, sorting, generators.
import re


class Node:
    __slots__ = ("key", "left", "right")

    def __init__(self, key):
        self.key = key
        self.left = self.right = None

    def insert(self, key):
        node = self
        while True:
            side = "left" if key < node.key else "right"
            below = getattr(node, side)
            if below is None:
                setattr(node, side, Node(key))
                return
            node = below

    def walk(self):
        if self.left:
            yield from self.left.walk()
        yield self.key
        if self.right:
            yield from self.right.walk()


def numbers(count, seed=1):
    for _ in range(count):
        seed = (seed * 69069 + 1) & 0xFFFFFFFF
        yield seed >> 8


def main():
    tree = Node(1 << 23)
    for n in numbers(800):
        tree.insert(n)
    keys = list(tree.walk())
    words = ["w%x" % (n % 997) for n in numbers(5000, 7)]
    count = {}
    for word in words:
        count[word] = count.get(word, 0) + 1
    top = sorted(count.items(), key=lambda kv: (-kv[1], kv[0]))[:5]
    text = " ".join(words)
    found = re.findall(r"\bw[0-9]+[a-f]\b", text)
    big = 1
    for i in range(1, 400):
        big = big * i % ((1 << 521) - 1)
    print(keys == sorted(keys), len(keys), top, len(found), big % 1000003)


main()
