"""Tiny data sets in the layouts of the named ones; listing does not open an image."""


def make(folder, *names):
    """Empty files under a folder."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def msmt17(folder, train="mask_train_v2", test="mask_test_v2"):
    """Identities 0, 1 and 2 of training, of which val has the last; others 0 and 1 of test."""
    lists = {
        "train": ["0000/0000_000_01_0303morning_0008_0.jpg 0", "0001/0001_000_15_noon_1_0.jpg 1"],
        "val": ["0002/0002_000_03_0303morning_0008_0.jpg 2"],
        "query": ["0000/0000_000_01_0303noon_0001_0.jpg 0", "0001/0001_001_02_noon_1_0.jpg 1"],
        "gallery": ["0000/0000_002_07_0303noon_0001_0.jpg 0", "0001/0001_003_08_noon_1_0.jpg 1"],
    }
    for name, lines in lists.items():
        place = train if name in ("train", "val") else test
        make(folder / place, *(line.split()[0] for line in lines))
        (folder / f"list_{name}.txt").write_text("\n".join(lines) + "\n")
    return folder


def vehicleid(folder, *sizes):
    """Vehicles 0 and 7 of training; in each test list, as many vehicles with three images."""
    number = iter(range(1, 10**6))
    lists = {"train_list": [f"{next(number):07} {who}" for who in (0, 7)]}
    for size in sizes:
        numbers = [who for who in range(100, 100 + size) for _ in range(3)]
        lists[f"test_list_{size}"] = [f"{next(number):07} {who}" for who in numbers]
    (folder / "train_test_split").mkdir(parents=True)
    for name, lines in lists.items():
        make(folder / "image", *(f"{line.split()[0]}.jpg" for line in lines))
        (folder / "train_test_split" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return folder


def pairs(folder, pattern, query, gallery, numbers=range(10), other_numbers=None):
    """One image of each number in each view."""
    make(folder / query, *(pattern.format(number, 1) for number in numbers))
    make(folder / gallery, *(pattern.format(number, 2) for number in other_numbers or numbers))
    return folder
