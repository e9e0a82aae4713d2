"""What the demo's clips are about: each topic has tags, captions, a palette, a motion and a sound of its own.

A picture is a chain for ffmpeg's `lavfi` source in the wanted size, a sound likewise; both are cheap to
render (flat areas, small generators scaled up) and follow from the dice alone.
"""

import colorsys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

FPS = 24


@dataclass(frozen=True, slots=True)
class Canvas:
    """What a picture is drawn on: size in pixels, length in seconds, and the dice that make one clip unlike
    another."""

    width: int
    height: int
    seconds: float
    dice: Random

    def color(self, hue: float, saturation: float = 0.8, value: float = 0.9) -> str:
        """A colour near a hue (0 to 1), as ffmpeg writes it."""
        near = (hue + self.dice.uniform(-0.03, 0.03)) % 1
        red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(near, saturation, value))
        return f"0x{red:02x}{green:02x}{blue:02x}"

    def plain(self, color: str) -> str:
        return f"color=c={color}:s={self.width}x{self.height}:r={FPS}"

    def small(self, share: int) -> str:
        """The size of a generator whose picture is scaled up afterwards."""
        return f"{max(16, self.width // share)}x{max(16, self.height // share)}"

    def grown(self, how: str) -> str:
        return f"scale={self.width}:{self.height}:flags={how}"


@dataclass(frozen=True, slots=True)
class Topic:
    """`hashtags` without the sign; `captions` to go with clips of this topic."""

    name: str
    hashtags: tuple[str, ...]
    captions: tuple[str, ...]
    picture: Callable[[Canvas], str]
    sound: Callable[[Random], str]


@dataclass(frozen=True, slots=True)
class Sprite:
    """A flat box that moves: size in pixels, and its place in ffmpeg's `overlay` terms (W, H, w, h, t in seconds)."""

    width: float
    height: float
    color: str
    x: str
    y: str


def _scene(canvas: Canvas, background: str, sprites: Sequence[Sprite]) -> str:
    """The background with the sprites on it, the last in front."""
    parts = [f"{background}[on0]"]
    for number, one in enumerate(sprites):
        size = f"{max(2, round(one.width))}x{max(2, round(one.height))}"
        parts.append(f"color=c={one.color}:s={size}:r={FPS}[box{number}]")
        parts.append(f"[on{number}][box{number}]overlay=x='{one.x}':y='{one.y}'[on{number + 1}]")
    return ";".join([*parts, f"[on{len(sprites)}]null"])


def _cooking(canvas: Canvas) -> str:
    """Bubbles that rise and die in hot oil."""
    seed = canvas.dice.randrange(1, 1 << 31)
    life, death = canvas.color(0.11), canvas.color(0.03, 0.9, 0.55)
    return (
        f"life=s={canvas.small(8)}:r={FPS}:mold=12:ratio=0.3:seed={seed}:life_color={life}"
        f":death_color={death}:mold_color={canvas.color(0.07, 0.9, 0.35)},{canvas.grown('bicubic')}"
    )


def _football(canvas: Canvas) -> str:
    """A ball that bounces over a mown pitch."""
    pace, ball, stripe = canvas.dice.uniform(1.2, 2.2), canvas.width / 8, canvas.height // 16
    grass = canvas.color(0.34, 0.75, 0.5)
    mown = [f"drawbox=y={2 * n * stripe}:h={stripe}:c={grass}:t=fill" for n in range(8)]
    pitch = ",".join([canvas.plain(canvas.color(0.33, 0.75, 0.62)), *mown, "drawbox=y=ih/2:h=4:c=white:t=fill"])
    x, y = f"(W-w)*abs(sin(t*{pace:.2f}))", f"(H-h)*abs(cos(t*{pace * 1.37:.2f}))"
    shadow = Sprite(ball, ball / 3, "0x1d4d1d", x, f"{y}+{ball:.0f}")
    return _scene(canvas, pitch, [shadow, Sprite(ball, ball, "white", x, y)])


def _cats(canvas: Canvas) -> str:
    """Two eyes that look about, and blink."""
    fur, eye = canvas.color(0.08, 0.35, 0.75), canvas.color(0.25, 0.8, 0.85)
    pace, wide, high = canvas.dice.uniform(1.5, 3.0), canvas.width * 0.28, canvas.height / 7
    sprites = []
    for side in (0.14, 0.58):
        sprites.append(Sprite(wide, high, eye, f"W*{side}", "H*0.35"))
        sprites.append(Sprite(wide / 4, high, "black", f"W*({side}+0.1+0.09*sin(t*{pace:.2f}))", "H*0.35"))
        sprites.append(Sprite(wide, high, fur, f"W*{side}", f"H*0.35-h+h*pow(sin(t*{pace:.2f}*0.6),12)"))
    nose = Sprite(wide / 3, high / 4, canvas.color(0.95, 0.4, 0.9), "(W-w)/2", f"H*(0.57+0.02*sin(t*{pace:.2f}*5))")
    return _scene(canvas, canvas.plain(fur), [*sprites, nose])


def _travel(canvas: Canvas) -> str:
    """A sun that sinks into a sea with moving waves."""
    fall, sun, foam = canvas.dice.uniform(0.05, 0.08), canvas.width / 3.5, canvas.color(0.55, 0.4, 0.95)
    sea = Sprite(canvas.width, canvas.height * 0.42, canvas.color(0.57, 0.8, 0.6), "0", "H*0.58")
    waves = [
        Sprite(
            canvas.width * 0.6,
            canvas.height * 0.012,
            foam,
            f"W*(0.2+0.5*sin(t*{0.9 + 0.25 * n:.2f}+{n}))",
            f"H*({0.62 + 0.06 * n:.2f}+0.01*sin(t*3+{n}))",
        )
        for n in range(6)
    ]
    ball = Sprite(sun, sun, canvas.color(0.14, 0.8, 1.0), "(W-w)/2", f"H*(0.22+{fall:.3f}*t)")
    return _scene(canvas, canvas.plain(canvas.color(0.06, 0.55, 0.95)), [ball, sea, *waves])


def _music(canvas: Canvas) -> str:
    """An equaliser."""
    bars, dark = 9, canvas.color(0.72, 0.9, 0.15)
    sprites = [
        Sprite(
            canvas.width / bars * 0.7,
            canvas.height * 0.7,
            canvas.color(0.75 + n * 0.02, 0.8, 1.0),
            f"W*{n + 0.15:.2f}/{bars}",
            f"H*(0.8-0.6*abs(sin(t*{canvas.dice.uniform(2, 7):.2f}+{n})))",
        )
        for n in range(bars)
    ]
    floor = Sprite(canvas.width, canvas.height * 0.2, dark, "0", "H*0.85")
    return _scene(canvas, canvas.plain(dark), [*sprites, floor])


def _coding(canvas: Canvas) -> str:
    """Green rows that scroll up a dark screen."""
    rule, seed = canvas.dice.choice((30, 45, 73, 105, 110)), canvas.dice.randrange(1, 1 << 31)
    tint = "lutyuv=y='if(gt(val,128),150,24)':u=90:v=80"
    rows = f"cellauto=s={canvas.small(6)}:r={FPS}:rule={rule}:seed={seed}:scroll=1"
    return f"{rows},format=yuv420p,{tint},{canvas.grown('neighbor')}"


def _fitness(canvas: Canvas) -> str:
    """A barbell that goes up and down, and a light that flashes with the beat."""
    beat, wide, high = canvas.dice.uniform(2.5, 4.5), canvas.width, canvas.height
    lift = f"(H-h)/2+H*0.28*sin(t*{beat:.2f})"
    red = canvas.color(0.0, 0.9, 0.95)
    flash = Sprite(wide, high / 12, canvas.color(0.13, 0.9, 1.0), f"W*floor(mod(t*{beat:.2f}/3.1416,2))", "H-h")
    bar = Sprite(wide * 0.9, high / 60, "0xc0c0c0", "(W-w)/2", lift)
    plates = [
        Sprite(wide * 0.06, high * tall, red, f"W*{place}-w/2", lift)
        for place, tall in ((0.12, 0.14), (0.2, 0.22), (0.8, 0.22), (0.88, 0.14))
    ]
    return _scene(canvas, canvas.plain("0x141414"), [flash, bar, *plates])


def _art(canvas: Canvas) -> str:
    """Paint that flows."""
    colors = ":".join(f"c{n}={canvas.color(canvas.dice.random(), 0.7, 0.95)}" for n in range(4))
    seed = canvas.dice.randrange(1, 1 << 31)
    speed = canvas.dice.uniform(0.03, 0.06)
    paint = f"gradients=s={canvas.small(4)}:r={FPS}:n=4:{colors}:seed={seed}:speed={speed:.3f}:type=spiral"
    return f"{paint},{canvas.grown('bilinear')}"


def _gaming(canvas: Canvas) -> str:
    """A field of blocks that lives by simple rules, in neon."""
    seed = canvas.dice.randrange(1, 1 << 31)
    colors = f"life_color={canvas.color(0.87, 0.9, 1.0)}:death_color={canvas.color(0.63, 0.9, 0.25)}"
    field = f"life=s={canvas.small(16)}:r={FPS}:ratio=0.4:stitch=1:seed={seed}:rule=B36/S23:{colors}"
    return f"{field},{canvas.grown('neighbor')}"


def _nature(canvas: Canvas) -> str:
    """Stems that sway in the wind, each in its own time."""
    stems = []
    for n in range(10):
        tall = canvas.dice.uniform(0.3, 0.75)
        sway = f"W*({n / 10:.2f}+0.06*sin(t*{canvas.dice.uniform(1.0, 3.0):.2f}+{n}))"
        color = canvas.color(0.3, 0.7, 0.35 + n * 0.05)
        stems.append(Sprite(canvas.width * 0.07, canvas.height * tall, color, sway, f"H-h+H*0.03*sin(t*2+{n})"))
    return _scene(canvas, canvas.plain(canvas.color(0.5, 0.3, 0.95)), stems)


def _dance(canvas: Canvas) -> str:
    """Coloured lights that change places on every beat."""
    step = canvas.dice.uniform(2.0, 2.6)
    lights = []
    for n in range(6):
        x = f"(W-w)*abs(sin(floor(t*{step:.2f})*{n + 1}.7+{n}))"
        y = f"(H-h)*abs(cos(floor(t*{step:.2f})*{n + 1}.3+{n}))"
        lights.append(Sprite(canvas.width / 4, canvas.height / 5, canvas.color(n / 6, 0.9, 1.0), x, y))
    return _scene(canvas, canvas.plain("0x180020"), lights)


def _space(canvas: Canvas) -> str:
    """Waves that run outwards from the middle."""
    k, pace = canvas.dice.randrange(80, 140), canvas.dice.randrange(9, 16)
    tint = f"colorchannelmixer=rr={canvas.dice.uniform(0.2, 0.5):.2f}:bb=1.2"
    rings = f"zoneplate=s={canvas.small(4)}:r={FPS}:kx2={k}:ky2={k}:kt={pace}"
    return f"{rings},format=rgb24,{tint},{canvas.grown('bilinear')}"


def _noise(color: str, after: str, volume: float) -> Callable[[Random], str]:
    def sound(dice: Random) -> str:
        return f"anoisesrc=c={color}:r=44100:a={volume}:s={dice.randrange(1, 1 << 31)},{after}"

    return sound


def _wave(expression: str) -> Callable[[Random], str]:
    """`{a}` and `{b}` in the expression become a pitch in Hz and its fifth."""

    def sound(dice: Random) -> str:
        pitch = dice.choice((196.0, 220.0, 246.9, 261.6, 293.7))
        return f"aevalsrc='{expression.format(a=pitch, b=pitch * 1.5)}':s=44100"

    return sound


TOPICS: tuple[Topic, ...] = (
    Topic(
        "cooking",
        ("cooking", "food", "recipe"),
        ("One pan, ten minutes", "The trick is the heat", "Crispy every time"),
        _cooking,
        _noise("pink", "highpass=f=2000,tremolo=f=9:d=0.4", 0.5),
    ),
    Topic(
        "football",
        ("football", "sports", "goal"),
        ("Top corner!", "Sunday league magic", "Wait for the second touch"),
        _football,
        _noise("brown", "tremolo=f=0.7:d=0.6,volume=2", 0.5),
    ),
    Topic(
        "cats",
        ("cats", "pets", "cute"),
        ("She saw the treat", "The judging begins", "Three in the morning"),
        _cats,
        _wave("0.4*sin(2*PI*t*({b}+120*sin(2*PI*t*0.8)))*gt(mod(t,1.4),0.7)"),
    ),
    Topic(
        "travel",
        ("travel", "sea", "sunset"),
        ("Last light of the trip", "No filter needed", "Take me back"),
        _travel,
        _noise("brown", "lowpass=f=700,tremolo=f=0.25:d=0.8,volume=3", 0.6),
    ),
    Topic(
        "music",
        ("music", "beats", "producer"),
        ("Made this at midnight", "Headphones on", "Name this loop"),
        _music,
        _wave("0.25*(sin(2*PI*{a}*t)+sin(2*PI*{b}*t)*gt(mod(t,1),0.5))*exp(-3*mod(t,0.25))"),
    ),
    Topic(
        "coding",
        ("coding", "programming", "tech"),
        ("It compiled the first time", "Rule 110, explained badly", "Refactoring in peace"),
        _coding,
        _wave("0.3*sin(2*PI*1800*t)*lt(mod(t,0.18),0.008)+0.03*sin(2*PI*{a}/4*t)"),
    ),
    Topic(
        "fitness",
        ("fitness", "workout", "gym"),
        ("Ten more. Go.", "No equipment", "Day 41"),
        _fitness,
        _wave("0.7*sin(2*PI*55*t)*exp(-9*mod(t,0.5))+0.1*sin(2*PI*{a}*t)*gt(mod(t,1),0.75)"),
    ),
    Topic(
        "art",
        ("art", "painting", "design"),
        ("Let it flow", "Four colours only", "Would you hang this?"),
        _art,
        _wave("0.18*(sin(2*PI*{a}*t)+sin(2*PI*{b}*t)+sin(2*PI*{a}*1.26*t))*(0.6+0.4*sin(2*PI*0.3*t))"),
    ),
    Topic(
        "gaming",
        ("gaming", "retro", "pixel"),
        ("New high score", "One life left", "They never patched this"),
        _gaming,
        _wave("0.12*sgn(sin(2*PI*{a}*t*(1+0.5*floor(mod(t*8,3)))))"),
    ),
    Topic(
        "nature",
        ("nature", "plants", "outdoors"),
        ("Just listen", "The meadow this morning", "Breathe"),
        _nature,
        _wave("0.25*sin(2*PI*t*(2400+500*sin(2*PI*t*11)))*gt(sin(2*PI*t*1.3),0.6)"),
    ),
    Topic(
        "dance",
        ("dance", "party", "choreo"),
        ("On the beat", "Learn this in a minute", "Second verse hits"),
        _dance,
        _wave("0.6*sin(2*PI*60*t)*exp(-12*mod(t,0.45))+0.2*sgn(sin(2*PI*{a}/2*t))*gt(mod(t,0.9),0.6)"),
    ),
    Topic(
        "space",
        ("space", "science", "physics"),
        ("This is what a wave is", "Light takes eight minutes", "Slower than you think"),
        _space,
        _wave("0.3*sin(2*PI*{a}/2*t+4*sin(2*PI*0.5*t))*(0.5+0.5*sin(2*PI*0.4*t))"),
    ),
)
