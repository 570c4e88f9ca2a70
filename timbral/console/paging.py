"""Page: a part of a long list."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Page", "page_of"]


@dataclass(frozen=True)
class Page:
    """Rows ``first`` to ``last`` (from 0, the end not in it) of ``total``; ``number`` counts pages from 1."""

    number: int
    size: int
    total: int

    @property
    def first(self) -> int:
        return (self.number - 1) * self.size

    @property
    def last(self) -> int:
        return min(self.first + self.size, self.total)

    @property
    def n_pages(self) -> int:
        return max(1, -(-self.total // self.size))

    @property
    def newer(self) -> int | None:
        """The page before; None on the first."""
        return self.number - 1 if self.number > 1 else None

    @property
    def older(self) -> int | None:
        """The page after; None on the last."""
        return self.number + 1 if self.number < self.n_pages else None


def page_of(asked: str | None, size: int, total: int) -> Page:
    """The page that a URL asks for; the nearest where there is none such, or the text is no number."""
    number = int(asked) if asked is not None and asked.isdigit() and len(asked) < 10 else 1
    return Page(min(max(number, 1), max(1, -(-total // size))), size, total)
